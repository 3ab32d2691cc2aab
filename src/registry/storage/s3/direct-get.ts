/**
 * A GET or HEAD over a connection that is read by hand. Node's HTTP makes a dozen objects for each request,
 * gives each piece memory of its own and hands it through two streams; here bytes come into two buffers
 * that stay, or do not come into the process at all: the kernel sends them on to a client (relay.ts).
 *
 * It is for the answer that is hoped for, and no other: whatever else comes, the caller asks once
 * more in the ordinary way, which knows errors and retries.
 */
import { type Answer, answerOver } from './direct-answer.ts'
import { Connection } from './direct-connection.ts'
import { codeIn, isOfObject } from './s3-failure.ts'

/** An unused connection is kept so long: less than servers do. */
const keepMs = 4000

const maxKept = 64

/** At a time; whoever comes then waits in the ordinary way. */
const maxOpen = 256

/** What is larger is no small object, nor the document of an error. */
const maxSmall = 8 * 1024 * 1024

export interface DirectRequest {
  readonly method: 'GET' | 'HEAD'
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
  /** How large an object is, of an answer to a HEAD; `undefined` for any answer but that and 404. */
  size(request: DirectRequest): Promise<DirectSize | undefined>
  close(): void
}

export interface DirectSize {
  /** `undefined`: there is none. */
  readonly size: number | undefined
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
  const question = async ({ method, server, path, headers }: DirectRequest, range = '') => {
    const text = `${method} ${path} HTTP/1.1\r\n${headers}${range}\r\n`
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
    size: async request => {
      const answer = await question(request)
      return answer && sizeOf(answer)
    },
    close: () => {
      for (const connection of kept.splice(0)) {
        connection.onTaken()
        connection.destroy()
      }
    },
  }
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

/** Its length is the object's, and no body follows. */
function sizeOf({ head, first, connection, length, release }: Answer): DirectSize | undefined {
  const isThere = head.status === 200 && length !== undefined
  if ((!isThere && head.status !== 404) || first.length > 0) {
    connection.destroy()
    return undefined
  }
  release()
  return { size: isThere ? length : undefined }
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
  return isOfObject(codeIn(bytes.toString())) ? { kind: 'absent' } : undefined
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
