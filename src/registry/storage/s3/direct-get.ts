/**
 * A GET of many bytes over a connection that is read by hand. Node's HTTP gives each piece memory of
 * its own and hands it through two streams; here bytes come into two buffers that stay, or do not
 * come into the process at all: the kernel sends them on to a client (relay.ts).
 *
 * It is for the answer that is hoped for, and no other: whatever else comes, the caller asks once
 * more in the ordinary way, which knows errors and retries.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { descriptorOf } from '../../../layerfs/content/relay.ts'

/** Large enough that a call costs little beside its bytes. */
const bufferSize = 256 * 1024

/** Without a byte: the server is gone, or its network. */
const idleMs = 20_000

/** An unused connection is kept so long: less than servers do. */
const keepMs = 4000

const maxKept = 16

const maxHead = 16 * 1024

export interface DirectRequest {
  /** Signed; with the query. */
  readonly url: URL
  /** Half-open. */
  readonly start: number
  readonly end: number
  /** All of the object: some servers send a file faster than a part of one. */
  readonly isWhole: boolean
}

export interface DirectBody {
  readonly etag: string
  /** Of the body, came together with the head; lent until the first `read`. */
  readonly first: Uint8Array
  /** For relays, once `first` was taken; `undefined` when the connection is encrypted. */
  readonly descriptor: number | undefined
  /** The next bytes, lent until the next but one are asked for. Throws when the connection breaks. */
  read(): Promise<Uint8Array>
  /** The body was read to its end, and the connection may be used again. */
  release(): void
  destroy(): void
}

export interface DirectGets {
  /** `undefined` for any answer but these bytes, and for none. */
  get(request: DirectRequest): Promise<DirectBody | undefined>
  close(): void
}

/** Connections to one server; `ca`: who may vouch for it, when not the well-known ones. */
export function createDirectGets(server: URL | undefined, ca?: readonly string[]): DirectGets {
  const kept: Connection[] = []
  const keep = (connection: Connection) => {
    if (kept.length >= maxKept) return connection.destroy()
    kept.push(connection)
    const timer = setTimeout(() => {
      kept.splice(kept.indexOf(connection), 1)
      connection.destroy()
    }, keepMs)
    timer.unref()
    connection.onTaken = () => clearTimeout(timer)
  }
  const ask = async (connection: Connection, request: DirectRequest) => {
    try {
      const body = await askOver(connection, request, keep)
      if (body === undefined) connection.destroy()
      return body
    } catch {
      connection.destroy()
      return undefined
    }
  }
  return {
    get: async request => {
      const known = kept.pop()
      known?.onTaken()
      // The server may have closed it since, and of that nothing was heard.
      const body = known === undefined ? undefined : await ask(known, request)
      return body ?? ask(new Connection(server ?? request.url, ca), request)
    },
    close: () => {
      for (const connection of kept.splice(0)) {
        connection.onTaken()
        connection.destroy()
      }
    },
  }
}

/** An address is no server's name (RFC 6066); certificates are held against it all the same. */
function nameOf(host: string): { readonly servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {}
}

/** A socket that reads when it is asked, into two buffers in turns. */
class Connection {
  onTaken = () => {}
  readonly #socket: Socket
  readonly #buffers = [Buffer.alloc(0), Buffer.alloc(0)]
  #turn = 0
  #arrived: Buffer | undefined
  #failure: Error | undefined
  #wake = () => {}

  constructor({ protocol, hostname, port }: URL, ca: readonly string[] | undefined) {
    const onread = {
      buffer: () => this.#nextBuffer(),
      callback: (size: number, buffer: Uint8Array) => this.#receive(size, buffer),
    }
    const host = hostname.replace(/^\[|\]$/g, '')
    this.#socket =
      protocol === 'https:'
        ? connectTls({ host, port: Number(port || 443), ...nameOf(host), ca, onread } as object)
        : connect({ host, port: Number(port || 80), onread })
    this.#socket.setNoDelay()
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.on('end', () => this.#fail(new Error('The storage closed the connection')))
    this.#socket.on('close', () => this.#fail(new Error('The connection to the storage broke')))
  }

  get descriptor(): number | undefined {
    return descriptorOf(this.#socket)
  }

  write(text: string): void {
    this.#socket.write(text)
  }

  /** The next bytes, lent until the next but one are asked for. */
  async read(): Promise<Buffer> {
    if (this.#arrived === undefined) {
      this.#socket.resume()
      await new Promise<void>(resolve => {
        const timer = setTimeout(() => {
          this.#fail(new Error(`The storage said nothing for ${idleMs / 1000} seconds`))
        }, idleMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (this.#failure !== undefined) this.#wake()
      })
    }
    const arrived = this.#arrived
    this.#arrived = undefined
    if (arrived === undefined) throw this.#failure ?? new Error('The connection broke')
    return arrived
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #nextBuffer(): Buffer {
    this.#turn = 1 - this.#turn
    const known = this.#buffers[this.#turn]
    if (known !== undefined && known.length > 0) return known
    const made = Buffer.allocUnsafeSlow(bufferSize)
    this.#buffers[this.#turn] = made
    return made
  }

  /** False: no more, until it is asked for. */
  #receive(size: number, buffer: Uint8Array): boolean {
    this.#arrived = Buffer.from(buffer.buffer, buffer.byteOffset, size)
    this.#wake()
    return false
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#wake()
  }
}

async function askOver(
  connection: Connection,
  request: DirectRequest,
  keep: (connection: Connection) => void,
): Promise<DirectBody | undefined> {
  const { url, start, end, isWhole } = request
  const range = isWhole ? '' : `Range: bytes=${start}-${end - 1}\r\n`
  connection.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n${range}\r\n`)
  let head: Buffer = Buffer.alloc(0)
  let at = -1
  while (at === -1) {
    if (head.length > maxHead) return undefined
    // Once only, almost always: the rest of the buffer is the body's then, and is not copied.
    const more = await connection.read()
    head = head.length === 0 ? more : Buffer.concat([head, more])
    at = head.indexOf('\r\n\r\n')
  }
  const answer = readHead(head.toString('latin1', 0, at))
  const first = head.subarray(at + 4)
  const isMeant =
    answer.status === (isWhole ? 200 : 206) &&
    answer.headers.get('content-length') === `${end - start}` &&
    !answer.headers.has('transfer-encoding') &&
    !answer.headers.has('content-encoding') &&
    first.length <= end - start
  const etag = answer.headers.get('etag')
  if (!isMeant || etag === undefined) return undefined
  const isKept = answer.isLatest && answer.headers.get('connection')?.toLowerCase() !== 'close'
  return {
    etag,
    first,
    descriptor: connection.descriptor,
    read: () => connection.read(),
    release: () => (isKept ? keep(connection) : connection.destroy()),
    destroy: () => connection.destroy(),
  }
}

interface Head {
  readonly status: number
  /** HTTP/1.1: connections stay open. */
  readonly isLatest: boolean
  readonly headers: ReadonlyMap<string, string>
}

/** A header that comes twice is none that we rely on. */
function readHead(text: string): Head {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const [, minor, status] = /^HTTP\/1\.([01]) ([0-9]{3})(?: |$)/.exec(statusLine) ?? []
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    headers.set(name, headers.has(name) ? 'several' : line.slice(colon + 1).trim())
  }
  return { status: Number(status ?? 0), isLatest: minor === '1', headers }
}
