/**
 * A GET over a connection that is read by hand. Node's HTTP makes a dozen objects for each request,
 * gives each piece memory of its own and hands it through two streams; here bytes come into two buffers
 * that stay, or do not come into the process at all: the kernel sends them on to a client (relay.ts).
 *
 * It is for the answer that is hoped for, and no other: whatever else comes, the caller asks once
 * more in the ordinary way, which knows errors and retries.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { descriptorOf } from '../../../layerfs/content/relay.ts'
import { codeIn } from './s3-failure.ts'

/** Enough for most of what is small; and enough that a call costs little beside its bytes. */
const bufferSizes = { first: 16 * 1024, full: 256 * 1024 }

/** Without a byte: the server is gone, or its network. */
const idleMs = 20_000

/** An unused connection is kept so long: less than servers do. */
const keepMs = 4000

const maxKept = 64

/** At a time; whoever comes then waits in the ordinary way. */
const maxOpen = 256

const maxHead = 16 * 1024

/** What is larger is no small object, nor the document of an error. */
const maxSmall = 8 * 1024 * 1024

export interface DirectRequest {
  /** Its scheme, host and port. */
  readonly server: string
  /** As it is sent, with the query. */
  readonly path: string
  /** Lines with their ends: `Host`, and the signature. */
  readonly headers: string
}

export interface DirectRange {
  /** Half-open. */
  readonly start: number
  readonly end: number
  /** All of the object: some servers send a file faster than a part of one. */
  readonly isWhole: boolean
}

/** A small object, or that there is none. */
export type DirectObject =
  | {
      readonly kind: 'object'
      readonly bytes: Buffer
      readonly etag: string
      readonly header: (name: string) => string | undefined
    }
  | { readonly kind: 'absent' }

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
  get(request: DirectRequest, range: DirectRange): Promise<DirectBody | undefined>
  /** All of an object of a few MiB; `undefined` for any answer but that and 404, and for none. */
  read(request: DirectRequest): Promise<DirectObject | undefined>
  close(): void
}

/** Connections to one server; `ca`: who may vouch for it, when not the well-known ones. */
export function createDirectGets(ca?: readonly string[]): DirectGets {
  const kept: Connection[] = []
  let open = 0
  const connectTo = (server: string): Connection => {
    open++
    const connection = new Connection(new URL(server), ca)
    connection.onClosed = () => open--
    return connection
  }
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
  /** With the answer to the question; `undefined` where none came. */
  const ask = async (connection: Connection, text: string): Promise<Answer | undefined> => {
    try {
      const answer = await answerOver(connection, text, keep)
      if (answer === undefined) connection.destroy()
      return answer
    } catch {
      connection.destroy()
      return undefined
    }
  }
  const question = async ({ server, path, headers }: DirectRequest, range = '') => {
    const text = `GET ${path} HTTP/1.1\r\n${headers}${range}\r\n`
    const known = kept.pop()
    known?.onTaken()
    // The server may have closed it since, and of that nothing was heard.
    const answer = known === undefined ? undefined : await ask(known, text)
    if (answer !== undefined || open >= maxOpen) return answer
    return ask(connectTo(server), text)
  }
  return {
    get: async (request, range) => {
      const { start, end, isWhole } = range
      const wanted = isWhole ? '' : `Range: bytes=${start}-${end - 1}\r\n`
      const answer = await question(request, wanted)
      return answer && bodyOf(answer, range)
    },
    read: async request => {
      const answer = await question(request)
      return answer && (await objectOf(answer))
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
  onClosed = () => {}
  readonly #socket: Socket
  readonly #buffers = [Buffer.alloc(0), Buffer.alloc(0)]
  #turn = 0
  #size = bufferSizes.first
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
    this.#socket.on('close', () => {
      this.#fail(new Error('The connection to the storage broke'))
      this.onClosed()
    })
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
    if (known?.length === this.#size) return known
    const made = Buffer.allocUnsafeSlow(this.#size)
    this.#buffers[this.#turn] = made
    return made
  }

  /** False: no more, until it is asked for. */
  #receive(size: number, buffer: Uint8Array): boolean {
    this.#arrived = Buffer.from(buffer.buffer, buffer.byteOffset, size)
    if (size === buffer.length) this.#size = bufferSizes.full
    this.#wake()
    return false
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#wake()
  }
}

/** The head of an answer, and the connection that its body comes by. */
interface Answer {
  readonly head: Head
  /** Of the body, came together with the head. */
  readonly first: Buffer
  readonly connection: Connection
  /** Of a body that can be told from what follows it. */
  readonly length: number | undefined
  /** The body was read to its end, and the connection may be used again. */
  release(): void
}

async function answerOver(
  connection: Connection,
  text: string,
  keep: (connection: Connection) => void,
): Promise<Answer | undefined> {
  connection.write(text)
  let start: Buffer = Buffer.alloc(0)
  let at = -1
  while (at === -1) {
    if (start.length > maxHead) return undefined
    // Once only, almost always: the rest of the buffer is the body's then, and is not copied.
    const more = await connection.read()
    start = start.length === 0 ? more : Buffer.concat([start, more])
    at = start.indexOf('\r\n\r\n')
  }
  const head = readHead(start.toString('latin1', 0, at))
  const first = start.subarray(at + 4)
  const isKept = head.isLatest && head.headers.get('connection')?.toLowerCase() !== 'close'
  const release = () => (isKept ? keep(connection) : connection.destroy())
  return { head, first, connection, length: lengthIn(head, first), release }
}

function lengthIn({ headers }: Head, first: Buffer): number | undefined {
  const length = headers.get('content-length') ?? ''
  const isPlain = !headers.has('transfer-encoding') && !headers.has('content-encoding')
  const isMeant = isPlain && /^[0-9]{1,15}$/.test(length) && first.length <= Number(length)
  return isMeant ? Number(length) : undefined
}

function bodyOf(answer: Answer, { start, end, isWhole }: DirectRange): DirectBody | undefined {
  const { head, first, connection, length, release } = answer
  const etag = head.headers.get('etag')
  const isMeant = head.status === (isWhole ? 200 : 206) && length === end - start
  if (!isMeant || etag === undefined) {
    connection.destroy()
    return undefined
  }
  return {
    etag,
    first,
    descriptor: connection.descriptor,
    read: () => connection.read(),
    release,
    destroy: () => connection.destroy(),
  }
}

async function objectOf(answer: Answer): Promise<DirectObject | undefined> {
  const { head, connection, length, release } = answer
  const etag = head.headers.get('etag')
  const isMeant = head.status === 404 || (head.status === 200 && etag !== undefined)
  const isSmall = length !== undefined && length <= maxSmall
  const bytes =
    isMeant && isSmall ? await wholeBody(answer, length).catch(() => undefined) : undefined
  if (bytes === undefined) {
    connection.destroy()
    return undefined
  }
  release()
  if (head.status === 200) {
    return { kind: 'object', bytes, etag: etag ?? '', header: name => head.headers.get(name) }
  }
  return codeIn(bytes.toString()) === 'NoSuchBucket' ? undefined : { kind: 'absent' }
}

/** `undefined` when more comes than was told. Throws when less does. */
async function wholeBody(
  { first, connection }: Answer,
  length: number,
): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(length)
  let at = first.copy(bytes)
  while (at < length) {
    const more = await connection.read()
    if (more.length > length - at) return undefined
    at += more.copy(bytes, at)
  }
  return bytes
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
