/** A client that costs little, so that what is measured is the server. */
import { createHash } from 'node:crypto'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'

const agent = new Agent({ keepAlive: true, maxSockets: 64 })

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly size: number
}

export interface Sending {
  readonly method?: string
  readonly type?: string
  readonly body?: Uint8Array
}

export function send(port: number, path: string, sending: Sending = {}): Promise<Answer> {
  const { method = 'GET', type, body } = sending
  const headers = {
    accept: `${manifestType}, */*`,
    ...(type === undefined ? {} : { 'content-type': type }),
    ...(method === 'GET' || method === 'HEAD' ? {} : { 'content-length': body?.length ?? 0 }),
  }
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, path, method, headers, agent }, res => {
      let size = 0
      res.on('data', chunk => {
        size += chunk.length
      })
      res.on('error', reject)
      res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, size }))
    })
    req.on('error', reject)
    req.end(body)
  })
}

/** As {@link send}, for large answers: read into one buffer, so that it is the server that takes time. */
export function receive(port: number, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = -1
    const take = (size: number, buffer: Uint8Array): boolean => {
      left = left === -1 ? bodyLeft(Buffer.from(buffer.buffer, 0, size)) : left - size
      if (left <= 0) socket.destroy()
      return true
    }
    const onread = { buffer: Buffer.allocUnsafeSlow(1024 * 1024), callback: take }
    const socket = connect({ port, host: '127.0.0.1', onread })
    socket.on('error', reject)
    socket.on('close', () => (left === 0 ? resolve() : reject(new Error(`${left} bytes lack`))))
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  })
}

/** After the answer's first bytes. Throws unless it is 200. */
function bodyLeft(first: Buffer): number {
  const end = first.indexOf('\r\n\r\n')
  const head = first.toString('latin1', 0, end)
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(head)
  return Number(/content-length: (\d+)/i.exec(head)?.[1]) - (first.length - end - 4)
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export interface Blob {
  readonly bytes: Uint8Array
  readonly digest: string
}

/** Where a push is measured it is made before: to hash it takes as long as a server does to store it. */
export function blobOf(bytes: Uint8Array): Blob {
  return { bytes, digest: digestOf(bytes) }
}

/** POST, then PUT with all bytes, as containerd and BuildKit push. */
export async function pushBlob(port: number, name: string, { bytes, digest }: Blob): Promise<void> {
  const post = await send(port, `/v2/${name}/blobs/uploads/`, { method: 'POST' })
  const location = new URL(String(post.headers.location), 'http://x')
  location.searchParams.set('digest', digest)
  const type = 'application/octet-stream'
  const path = location.pathname + location.search
  mustBe(201, await send(port, path, { method: 'PUT', type, body: bytes }))
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json'

export function manifestOf(config: Uint8Array, layers: readonly Uint8Array[]): Buffer {
  const describe = (mediaType: string) => (bytes: Uint8Array) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  })
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: describe('application/vnd.oci.image.config.v1+json')(config),
      layers: layers.map(describe('application/vnd.oci.image.layer.v1.tar+gzip')),
    }),
  )
}

export async function pushManifest(
  port: number,
  target: { readonly name: string; readonly reference: string },
  bytes: Uint8Array,
): Promise<void> {
  const path = `/v2/${target.name}/manifests/${target.reference}`
  mustBe(201, await send(port, path, { method: 'PUT', type: manifestType, body: bytes }))
}

export function mustBe(status: number, answer: Answer): Answer {
  if (answer.status !== status) throw new Error(`Expected ${status}, got ${answer.status}`)
  return answer
}

export interface Load {
  readonly connections: number
  readonly forMs: number
  /** A line of its own, with its end. */
  readonly header?: string
}

/** Times in ms of GETs of `path` over `connections` connections for `forMs`. */
export async function hammer(
  port: number,
  path: string,
  { connections, forMs, header = '' }: Load,
): Promise<number[]> {
  const times: number[] = []
  const until = performance.now() + forMs
  const text = `GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: ${manifestType}\r\n${header}\r\n`
  await Promise.all(Array.from({ length: connections }, () => repeat(port, { text, until, times })))
  return times
}

interface Repetition {
  readonly text: string
  readonly until: number
  readonly times: number[]
}

/** One raw connection, one request at a time; answers have a Content-Length. */
function repeat(port: number, { text, until, times }: Repetition): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let left = -1
    let started = 0
    const next = () => {
      left = -1
      started = performance.now()
      if (started > until) socket.destroy()
      else socket.write(text)
    }
    socket.on('connect', next)
    socket.on('data', (chunk: Buffer) => {
      let { length } = chunk
      if (left === -1) {
        const end = chunk.indexOf('\r\n\r\n')
        const head = chunk.toString('latin1', 0, end)
        if (!head.startsWith('HTTP/1.1 200')) socket.destroy(new Error(head))
        left = Number(/content-length: (\d+)/i.exec(head)?.[1])
        length -= end + 4
      }
      left -= length
      if (left > 0) return
      times.push(performance.now() - started)
      next()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
}
