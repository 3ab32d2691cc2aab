/** The head of an answer over a connection that is read by hand (RFC 9112). */
import type { Connection } from './direct-connection.ts'

const maxHead = 16 * 1024

/** The head of an answer, and the connection that its body comes by. */
export interface Answer {
  readonly head: Head
  /** Of the body, came together with the head. */
  readonly first: Buffer
  readonly connection: Connection
  /** Of a body that can be told from what follows it. */
  readonly length: number | undefined
  /** The body was read to its end, and the connection may be used again. */
  release(): void
}

/** Throws when the connection breaks; `undefined` for a head that does not end. */
export async function answerOver(
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
