/** A reply value as bytes of HTTP. */
import type { ServerResponse } from 'node:http'
import type { ObjectBytes } from '../storage/object-store.ts'
import type { Reply, ReplyBody } from './exchange.ts'
import { commonHeaders } from './reply.ts'
import { sendChunks } from './send-chunks.ts'

/** Goes out with the head in one piece; a larger one is not worth a copy. */
const smallBody = 16 * 1024

/**
 * Sends the reply, and returns how many bytes its body has, where that is known. `onRelayed` is told
 * of bytes that the socket does not count. Headers that are set already stay, unless the reply has
 * others. Throws when a header's value cannot be sent.
 */
export function sendReply(
  res: ServerResponse,
  reply: Reply,
  onRelayed: (bytes: number) => void,
): number | undefined {
  const { status, headers, body } = reply
  const length = lengthOf(reply)
  writeHead(res, status, headLines(headers, length))
  if (isStream(body)) void sendChunks(res, body, onRelayed)
  else if (body === undefined || res.req.method === 'HEAD') res.end()
  else if (body.length <= smallBody) endWith(res, latin1Of(body))
  else res.end(body)
  return length
}

/** Of the reply's body, where that is known; of a HEAD's, what the body would have. */
export function lengthOf({ status, headers, body }: Reply): number | undefined {
  if (body !== undefined && !isStream(body)) return Buffer.byteLength(body)
  const told = headers['Content-Length']
  if (told !== undefined) return Number(told)
  return body === undefined && status >= 400 ? 0 : undefined
}

/** Names and values in turns. */
function headLines(headers: Reply['headers'], length: number | undefined): string[] {
  const lines: string[] = []
  for (const name in commonHeaders) {
    if (headers[name] === undefined) lines.push(name, commonHeaders[name] ?? '')
  }
  for (const name in headers) {
    if (name !== 'Content-Length') lines.push(name, headers[name] ?? '')
  }
  if (length !== undefined) lines.push('Content-Length', String(length))
  return lines
}

/** All headers at once, where none is set yet: setting each costs as much as the rest (measured). */
function writeHead(res: ServerResponse, status: number, lines: readonly string[]): void {
  if (res.getHeaderNames().length === 0) {
    res.writeHead(status, lines as string[])
    return
  }
  res.statusCode = status
  for (let i = 0; i < lines.length; i += 2) res.setHeader(lines[i] ?? '', lines[i + 1] ?? '')
}

/**
 * Head and body in one write. Node's `end(text)` makes a second piece, an empty one, and what has two
 * pieces is gathered first: a twentieth of a manifest (measured).
 */
function endWith(res: ServerResponse, text: string): void {
  res.cork()
  res.write(text, 'latin1')
  res.uncork()
  res.end()
}

/** Node puts head and body into one write when both are strings; in this encoding bytes stay as they are. */
function latin1Of(body: string | Uint8Array): string {
  const bytes =
    typeof body === 'string'
      ? Buffer.from(body)
      : Buffer.from(body.buffer, body.byteOffset, body.length)
  return bytes.toString('latin1')
}

function isStream(body: ReplyBody | undefined): body is ObjectBytes {
  return typeof body === 'object' && !(body instanceof Uint8Array)
}
