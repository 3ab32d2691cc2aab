/** What the same request costs in one way and in another: in turns, so that both have the same machine. */
import { mean, median } from '../measure.ts'
import { hammer } from './client.ts'
import type { MeasuredServer } from './servers.ts'

export interface Way {
  readonly how: string
  readonly server: MeasuredServer
  readonly path: string
  /** A line of the request, with its end. */
  readonly header?: string
}

export interface Cost {
  readonly how: string
  /** Of one request, in ms: the median, and the mean. */
  readonly clock: number
  readonly processor: number
}

const turns = 6
const turnMs = 800

export async function measureWays(ways: readonly Way[]): Promise<readonly Cost[]> {
  const taken = ways.map(way => ({ ...way, clocks: [] as number[], processors: [] as number[] }))
  for (let turn = 0; turn < turns; turn++) {
    for (const { server, path, header = '', clocks, processors } of taken) {
      const before = server.processorMs()
      const load = { connections: 32, forMs: turnMs, header }
      const { length } = await hammer(server.port, path, load)
      // The first warms up.
      if (turn === 0) continue
      clocks.push(turnMs / length)
      processors.push((server.processorMs() - before) / length)
    }
  }
  return taken.map(({ how, clocks, processors }) => ({
    how,
    clock: median(clocks),
    processor: mean(processors),
  }))
}
