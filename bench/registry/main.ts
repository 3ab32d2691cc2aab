/**
 * tsregistry beside CNCF Distribution, Debian's and the newest: the same client, the same machine, in
 * turns. Prints for each what one operation takes, of the clock and of the server's processor time,
 * and how much more the others take; the goal is for the clock. `--quick` makes a tenth of the tags;
 * other words on the command line choose the lines that have them.
 */
import { mean, median } from '../measure.ts'
import { hammer } from './client.ts'
import { measureCopies } from './copies.ts'
import { measureLogins } from './logins.ts'
import { pushImage, type Row, rowsOf } from './rows.ts'
import { type MeasuredServer, startDistributions, startOurs } from './servers.ts'
import { openSlowUploads, sendLargeManifests } from './slow.ts'

const words = process.argv.slice(2)
const chosen = words.filter(word => !word.startsWith('--'))

interface Cost {
  /** In ms for one operation: the median. */
  readonly clock: number
  /** The mean: it comes in steps of 10 ms. */
  readonly processor: number
}

/** In turns, so that what else the machine does falls on all of them. */
async function costs(row: Row, servers: readonly MeasuredServer[]): Promise<Cost[]> {
  const measured = await Promise.all(
    servers.map(async server => ({ server, turn: await row.prepare(server), costs: [] as Cost[] })),
  )
  for (let i = 0; i < row.turns; i++) {
    for (const { server, turn, costs } of measured) {
      const before = { clock: performance.now(), processor: server.processorMs() }
      const count = await turn(i)
      costs.push({
        clock: (performance.now() - before.clock) / count,
        processor: (server.processorMs() - before.processor) / count,
      })
    }
  }
  return measured.map(({ costs }) => ({
    clock: median(costs.map(({ clock }) => clock)),
    processor: mean(costs.map(({ processor }) => processor)),
  }))
}

async function compare(row: Row): Promise<void> {
  await using ours = await startOurs(['--gc-interval', '0'])
  await using others = await startDistributions()
  const servers = [ours, ...others.servers]
  const [own, ...rest] = await costs(row, servers)
  if (own === undefined) return
  print([row.what, ours.name, show(own.clock), show(own.processor)])
  rest.forEach((other, i) => {
    const ratio = other.clock / own.clock
    const verdict = `goal ${row.goal}x ${ratio >= row.goal ? 'ok' : 'MISSED'}`
    const ratios = `${ratio.toFixed(2)}x, processor ${(other.processor / own.processor).toFixed(2)}x`
    const name = others.servers[i]?.name ?? ''
    print(['', name, show(other.clock), show(other.processor), ratios, verdict])
  })
}

/** A hundred repositories of garbage, collected over and over while one image is pulled. */
async function latencyDuringCollection(): Promise<void> {
  await using server = await startOurs(['--gc-interval', '20ms', '--gc-grace', '0'])
  await using quiet = await startOurs(['--gc-interval', '0'])
  for (const { port } of [server, quiet]) {
    for (let i = 0; i < 50; i++) await pushImage(port, `image${i}`)
  }
  const p99Of = async ({ port }: MeasuredServer) => {
    const times = await hammer(port, '/v2/image0/manifests/x', { connections: 8, forMs: 1000 })
    return percentile(times, 0.99)
  }
  const times = { without: [] as number[], during: [] as number[] }
  for (let i = 0; i < 5; i++) {
    times.without.push(await p99Of(quiet))
    times.during.push(await p99Of(server))
  }
  const [without, during] = [median(times.without), median(times.during)]
  const ratio = during / without
  const verdict = `goal at most 1.5x ${ratio <= 1.5 ? 'ok' : 'MISSED'}`
  print(['p99 of pulls', 'during collection', show(during), '', `${ratio.toFixed(2)}x`, verdict])
  print(['', 'without', show(without)])
}

async function logins(): Promise<void> {
  const [anonymous, ...others] = await measureLogins()
  if (anonymous === undefined) return
  const { how, clock, processor } = anonymous
  print(['manifest GET with a login', how, show(clock), show(processor)])
  for (const other of others) {
    const rate = clock / other.clock
    const isGoal = other.how !== 'open registry'
    const verdict = isGoal ? `goal 0.8x the rate ${rate >= 0.8 ? 'ok' : 'MISSED'}` : ''
    const ratios = `${rate.toFixed(2)}x, processor ${(processor / other.processor).toFixed(2)}x`
    print(['', other.how, show(other.clock), show(other.processor), ratios, verdict])
  }
}

async function copies(): Promise<void> {
  for (const { what, costs } of await measureCopies()) {
    const [pushed, copy] = costs
    if (pushed === undefined || copy === undefined) return
    const ratio = copy.processor / pushed.processor
    const verdict = `goal at most 1.1x the processor ${ratio <= 1.1 ? 'ok' : 'MISSED'}`
    print([what, copy.how, show(copy.clock), show(copy.processor)])
    const ratios = `${(pushed.clock / copy.clock).toFixed(2)}x, processor ${(1 / ratio).toFixed(2)}x`
    print(['', pushed.how, show(pushed.clock), show(pushed.processor), ratios, verdict])
  }
}

async function memory(what: string, load: (port: number) => Promise<Disposable>): Promise<void> {
  await using server = await startOurs(['--gc-interval', '0'])
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, server.rss())
  }, 20)
  using _ = await load(server.port)
  clearInterval(timer)
  const verdict = `goal at most 250 MiB ${peak <= 250 ? 'ok' : 'MISSED'}`
  print([what, 'tsregistry', `${peak.toFixed(0)} MiB`, '', '', verdict])
}

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

function show(ms: number): string {
  return `${ms.toFixed(ms < 10 ? 3 : 1)} ms`
}

function print(cells: readonly string[]): void {
  const widths = [38, 20, 13, 13, 26, 0]
  console.log(
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('')
      .trimEnd(),
  )
}

const rows = rowsOf(words.includes('--quick') ? 0.1 : 1)
const lines: readonly (readonly [what: string, run: () => Promise<void>])[] = [
  ...rows.map(row => [row.what, () => compare(row)] as const),
  ['p99 of pulls during collection', latencyDuringCollection],
  ['manifest GET with a login', logins],
  ['manifest and 1 MB blob GET of a copy', copies],
  ...(
    [
      ['RSS, 256 slow uploads', openSlowUploads],
      ['RSS, 256 manifests of 4 MiB at once', sendLargeManifests],
    ] as const
  ).map(([what, load]) => [what, () => memory(what, load)] as const),
]

print(['', '', 'clock', 'processor', 'the others take'])
for (const [what, run] of lines) {
  if (chosen.length === 0 || chosen.some(word => what.includes(word))) await run()
}
