/** A Docker engine's socket: the image is sent to it as `docker load` would. */

import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { request } from 'node:http'
import { request as requestTls } from 'node:https'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { OciError, printable } from '../../oci/errors.ts'

/** `unix:///var/run/docker.sock`, `tcp://127.0.0.1:2375`. Throws `unsupported`, `invalid`. */
export function parseEngineAddress(text: string): RequestOptions {
  const unix = /^unix:\/\/(\/.+)$/.exec(text)?.[1]
  if (unix !== undefined) return { socketPath: unix }
  const tcp = /^(?:tcp|http):\/\/([^/:]+|\[[0-9a-fA-F:]+\]):(\d{1,5})\/?$/.exec(text)
  const [, host, port] = tcp ?? []
  if (host !== undefined && port !== undefined) {
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
  }
  if (/^(ssh|https|npipe):/.test(text)) {
    throw new OciError('unsupported', `Cannot reach a Docker engine at "${printable(text)}" yet`, {
      hint: 'use --output type=docker,dest=FILE and "docker load"',
    })
  }
  throw new OciError(
    'invalid',
    `Cannot parse the address of a Docker engine "${printable(text)}": expected unix:///PATH or tcp://HOST:PORT`,
  )
}

export interface Engine {
  readonly address: string
  /** Of an address that is a host and port: whether, and how, they are sure of each other. */
  readonly tls?: EngineTls
}

/** What is in the files, as PEM. */
export interface EngineTls {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly verify: boolean
}

/** Long enough for what engines say; a broken one must not fill the memory. */
const maxReply = 1024 * 1024

/**
 * Throws `unavailable` when no engine answers, `denied` in its words when it refuses the image. The
 * engine names the image only after it has all of it.
 */
export async function loadIntoEngine(
  engine: Engine,
  archive: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const sent = openRequest(engine, signal)
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve)
    sent.once('error', reject)
  })
  try {
    const sending = pipeline(Readable.from(archive), sent)
    // An engine that refuses may answer, and hang up, before it has all of it.
    const reply = await Promise.race([answered, sending.then(() => answered)])
    const problem = problemIn(await replyText(reply), reply.statusCode ?? 0)
    if (problem !== undefined) {
      sending.catch(() => undefined)
      sent.destroy()
      throw new OciError('denied', `The Docker engine refused the image: ${problem}`)
    }
    await sending
  } catch (error) {
    if (signal.aborted || error instanceof OciError) throw error
    throw unreachable(engine, error)
  }
}

function openRequest({ address, tls }: Engine, signal: AbortSignal): ClientRequest {
  const place = parseEngineAddress(address)
  // Also the name that a certificate has to be for, where there is TLS.
  const host = 'socketPath' in place ? { host: 'docker' } : {}
  const options = {
    ...place,
    method: 'POST',
    path: '/images/load?quiet=1',
    headers: { 'content-type': 'application/x-tar', ...host },
    signal,
  }
  if (tls === undefined) return request(options)
  const { verify, ...certificates } = tls
  return requestTls({ ...options, ...certificates, rejectUnauthorized: verify })
}

const networkCodes = ['ENOENT', 'ECONNREFUSED', 'EACCES', 'ENOTFOUND', 'ECONNRESET', 'EPIPE']

/** As it is, when it is of something else than the way to the engine. */
function unreachable({ address, tls }: Engine, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const isTls = /CERT|TLS|SSL|EPROTO|UNABLE_TO_/.test(code)
  if (!isTls && !networkCodes.includes(code)) return error
  const reason = error instanceof Error ? error.message : String(error)
  const check = tls === undefined ? '' : ', DOCKER_TLS_VERIFY and DOCKER_CERT_PATH'
  return new OciError(
    'unavailable',
    `Cannot reach the Docker engine at ${printable(address)}: ${printable(reason, 500)}`,
    { cause: error, hint: `start it, or set DOCKER_HOST${check}` },
  )
}

async function replyText(reply: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of reply) {
    size += chunk.length
    if (size <= maxReply) chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** A failure has a status, or is an object in a stream of JSON that began well. */
function problemIn(text: string, status: number): string | undefined {
  for (const line of text.split('\n')) {
    const message = messageIn(line)
    if (message !== undefined) return printable(message, 1000)
  }
  return status === 200 ? undefined : `status ${status}`
}

function messageIn(line: string): string | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (!(value instanceof Object)) return undefined
    if ('error' in value && typeof value.error === 'string') return value.error
    return 'message' in value && typeof value.message === 'string' ? value.message : undefined
  } catch {
    return undefined
  }
}
