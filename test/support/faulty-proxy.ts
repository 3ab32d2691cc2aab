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
}

export type Fault = 'slow' | 'busy' | 'conflict' | 'lost' | 'torn'

/** Of a thousand requests. */
const rates: readonly (readonly [Fault, number])[] = [
  ['slow', 30],
  ['busy', 30],
  ['conflict', 20],
  ['lost', 30],
  ['torn', 20],
]

export async function startFaultyProxy(target: number, seed: number): Promise<FaultyProxy> {
  const faults: Record<Fault, number> = { slow: 0, busy: 0, conflict: 0, lost: 0, torn: 0 }
  const next = generator(seed)
  const server = createServer((req, res) => {
    const fault = faultFor(req, next() * 1000)
    if (fault !== undefined) faults[fault]++
    if (fault === 'busy') return refuse(req, res, [503, 'SlowDown'])
    if (fault === 'conflict') return refuse(req, res, [409, 'ConditionalRequestConflict'])
    setTimeout(() => pass(req, res, { target, fault }), fault === 'slow' ? 200 : 0)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    faults,
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

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
