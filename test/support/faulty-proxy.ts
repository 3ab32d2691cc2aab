/**
 * Between a store and its S3 server: delays, refuses, loses answers that were given, and tears bodies,
 * by a seeded generator, so that a run can be repeated.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FaultyProxy extends AsyncDisposable {
  readonly port: number
  /** How many of each fault there were. */
  readonly faults: Readonly<Record<Fault, number>>
  /** The next request of this operation has this fault. */
  arm(operation: Operation, fault: Fault): void
  /** Whether the request that was armed for has not come yet. */
  isArmed(): boolean
}

export type Fault = 'slow' | 'busy' | 'conflict' | 'lost' | 'torn'

export type Operation =
  | 'get'
  | 'head'
  | 'put'
  | 'create'
  | 'replace'
  | 'delete'
  | 'delete if'
  | 'list'
  | 'begin'
  | 'part'
  | 'complete'
  | 'abort'
  | 'list uploads'

/** Of a thousand requests. */
const rates: readonly (readonly [Fault, number])[] = [
  ['slow', 30],
  ['busy', 30],
  ['conflict', 20],
  ['lost', 30],
  ['torn', 20],
]

/** Without a seed there are no faults but those armed for. */
export async function startFaultyProxy(target: number, seed?: number): Promise<FaultyProxy> {
  const faults: Record<Fault, number> = { slow: 0, busy: 0, conflict: 0, lost: 0, torn: 0 }
  const next = seed === undefined ? () => 1 : generator(seed)
  let armed: { readonly operation: Operation; readonly fault: Fault } | undefined
  const server = createServer((req, res) => {
    const isMeant = armed?.operation === operationOf(req)
    const fault = isMeant ? armed?.fault : faultFor(req, next() * 1000)
    if (isMeant) armed = undefined
    if (fault !== undefined) faults[fault]++
    if (fault === 'busy') return refuse(req, res, [503, 'SlowDown'])
    if (fault === 'conflict') return refuse(req, res, [409, 'ConditionalRequestConflict'])
    setTimeout(() => pass(req, res, { target, fault }), fault === 'slow' ? 200 : 0)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    faults,
    arm: (operation, fault) => {
      armed = { operation, fault }
    },
    isArmed: () => armed !== undefined,
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function operationOf({ method = '', url = '', headers }: IncomingMessage): Operation | undefined {
  const query = new URL(url, 'http://x').searchParams
  const marks = [
    method,
    ...['uploads', 'list-type', 'uploadId', 'partNumber'].filter(name => query.has(name)),
    ...['if-match', 'if-none-match'].filter(name => name in headers),
  ]
  return operations.find(([, ...needed]) => needed.every(mark => marks.includes(mark)))?.[0]
}

/** The first whose marks a request has all. */
const operations: readonly (readonly [Operation, method: string, ...marks: string[]])[] = [
  ['list uploads', 'GET', 'uploads'],
  ['list', 'GET', 'list-type'],
  ['get', 'GET'],
  ['head', 'HEAD'],
  ['begin', 'POST', 'uploads'],
  ['complete', 'POST', 'uploadId'],
  ['abort', 'DELETE', 'uploadId'],
  ['delete if', 'DELETE', 'if-match'],
  ['delete', 'DELETE'],
  ['part', 'PUT', 'partNumber'],
  ['replace', 'PUT', 'if-match'],
  ['create', 'PUT', 'if-none-match'],
  ['put', 'PUT'],
]

function faultFor(req: IncomingMessage, chance: number): Fault | undefined {
  let left = chance
  for (const [fault, rate] of rates) {
    left -= rate
    if (left >= 0) continue
    const isConditional = 'if-match' in req.headers || 'if-none-match' in req.headers
    return fault === 'conflict' && !isConditional ? undefined : fault
  }
  return undefined
}

function refuse(req: IncomingMessage, res: ServerResponse, [status, code]: [number, string]): void {
  req.resume().once('end', () => res.writeHead(status).end(`<Error><Code>${code}</Code></Error>`))
}

function pass(
  req: IncomingMessage,
  res: ServerResponse,
  { target, fault }: { readonly target: number; readonly fault: Fault | undefined },
): void {
  const { method, url: path, headers } = req
  const onward = request({ host: '127.0.0.1', port: target, method, path, headers }, answer => {
    if (fault === 'lost') {
      // The work is done, and nobody hears of it.
      answer.resume().once('end', () => req.socket.destroy())
      return
    }
    res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    if (fault !== 'torn') return void answer.pipe(res)
    answer.once('data', (chunk: Buffer) => {
      res.write(chunk.subarray(0, chunk.length >> 1), () => req.socket.destroy())
    })
    answer.once('end', () => req.socket.destroy())
  })
  onward.on('error', () => req.socket.destroy())
  req.pipe(onward)
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
