/** A reply value as bytes of HTTP. */
import type { ServerResponse } from 'node:http'
import type { ObjectBytes } from '../storage/object-store.ts'
import type { Reply, ReplyBody } from './exchange.ts'
import { commonHeaders } from './reply.ts'
import { sendChunks } from './send-chunks.ts'

/** Goes out with the head in one piece; a larger one is not worth a copy. */
const smallBody = 16 * 1024

/**
 * Sends the reply; `onRelayed` is told of bytes that the socket does not count. Headers that are set
 * already stay, unless the reply has others. Throws when a header's value cannot be sent.
 */
export function sendReply(
  res: ServerResponse,
  { status, headers, body }: Reply,
  onRelayed: (bytes: number) => void,
): void {
  res.statusCode = status
  for (const name in commonHeaders) res.setHeader(name, commonHeaders[name] ?? '')
  for (const name in headers) res.setHeader(name, headers[name] ?? '')
  if (isStream(body)) {
    void sendChunks(res, body, onRelayed)
    return
  }
  if (body !== undefined) res.setHeader('Content-Length', Buffer.byteLength(body))
  else if (status >= 400) res.setHeader('Content-Length', 0)
  if (body === undefined || res.req.method === 'HEAD') res.end()
  else if (body.length <= smallBody) res.end(latin1Of(body), 'latin1')
  else res.end(body)
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
