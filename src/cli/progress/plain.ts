/**
 * Plain progress: a log that only grows, in BuildKit's form.
 *
 *   #3 [stage 2/5] RUN make        the vertex that has the floor
 *   #3 0.312 output
 *   #3 ...                         loses the floor before it ends
 *
 *   #4 CACHED | DONE 1.2s | ERROR: … | CANCELED
 *
 * One vertex has the floor: its lines are printed as they come; those of others wait. A vertex that
 * ends takes the floor at once. Waiting lines get it when it is free, or after five seconds, or
 * when too many wait.
 */
import type { Terminal } from '../terminal.ts'
import { formatAmount, formatLogLine, formatSeconds } from './format.ts'
import type { Clock, Renderer, RendererInput } from './renderer.ts'
import type { Change, Outcome, ProgressItem, Vertex } from './trace.ts'

const longestWait = 5000
const mostWaitingLines = 1000
/** An item's progress is printed this long after the last time, sooner when it grew by a share. */
const reportedAfter = 5000
const reportedSooner = { share: 0.05, after: 1000 }

export function plainRenderer({ clock }: RendererInput, out: Terminal): Renderer {
  return new PlainRenderer(clock, out)
}

interface Waiting {
  readonly since: number
  readonly lines: string[]
}

class PlainRenderer implements Renderer {
  readonly #clock: Clock
  readonly #out: Terminal
  readonly #timer: Disposable
  readonly #waiting = new Map<Vertex, Waiting>()
  readonly #reported = new WeakMap<Vertex, Map<string, ProgressItem>>()
  #floor: Vertex | undefined
  #isFirst = true

  constructor(clock: Clock, out: Terminal) {
    this.#clock = clock
    this.#out = out
    this.#timer = clock.every(1000, () => this.#yieldToWaiting())
  }

  update(change: Change): void {
    if (change.kind === 'nothing') return
    const lines = this.#linesOf(change)
    if (change.kind === 'ended') this.#end(change.vertex, lines)
    else this.#say(change.vertex, lines)
  }

  close(): void {
    this.#timer[Symbol.dispose]()
    for (const vertex of [...this.#waiting.keys()]) {
      if ((this.#waiting.get(vertex)?.lines.length ?? 0) > 0) this.#takeFloor(vertex)
    }
  }

  #linesOf(change: Exclude<Change, { kind: 'nothing' }>): string[] {
    if (change.kind === 'item') return this.#itemLines(change.vertex, change.item)
    if (change.kind === 'missed') return [`not cached: ${change.why}`]
    if (change.kind === 'warning') return [`WARN: ${change.message}`]
    return change.lines.map(line => formatLogLine(line, this.#out))
  }

  #itemLines(vertex: Vertex, item: ProgressItem): string[] {
    const reported = this.#reported.get(vertex) ?? new Map<string, ProgressItem>()
    this.#reported.set(vertex, reported)
    if (!isWorthReporting(item, reported.get(item.name))) return []
    reported.set(item.name, item)
    const took = item.updatedAt - item.startedAt
    const time = took > 10 ? ` ${formatSeconds(took)}` : ''
    return [`${item.name}${formatAmount(item)}${time}${item.isDone ? ' done' : ''}`]
  }

  #say(vertex: Vertex, lines: readonly string[]): void {
    if (this.#floor === undefined) this.#takeFloor(vertex)
    if (this.#floor === vertex) this.#print(vertex, lines)
    else this.#wait(vertex, lines)
  }

  #wait(vertex: Vertex, lines: readonly string[]): void {
    const waiting = this.#waiting.get(vertex) ?? { since: this.#clock.now(), lines: [] }
    this.#waiting.set(vertex, waiting)
    waiting.lines.push(...lines)
    if (waiting.lines.length > mostWaitingLines) this.#takeFloor(vertex)
  }

  #end(vertex: Vertex, lines: readonly string[]): void {
    this.#takeFloor(vertex)
    const end = vertex.end === undefined ? [] : endLines(vertex, vertex.end)
    this.#print(vertex, [...lines, ...end])
    this.#floor = undefined
    const next = this.#mostWaiting()
    if (next !== undefined) this.#takeFloor(next)
  }

  /** Ends the current block, if it is another's, and begins one with what waited. */
  #takeFloor(vertex: Vertex): void {
    if (this.#floor === vertex) return
    if (this.#floor !== undefined) {
      this.#print(this.#floor, ['...'])
      // It may still have something to say later, and be waiting for the floor from now on.
      this.#waiting.set(this.#floor, { since: this.#clock.now(), lines: [] })
    }
    const gap = this.#isFirst ? '' : '\n'
    this.#isFirst = false
    this.#floor = vertex
    this.#print(vertex, [vertex.name, ...(this.#waiting.get(vertex)?.lines ?? [])], gap)
    this.#waiting.delete(vertex)
  }

  #yieldToWaiting(): void {
    const next = this.#mostWaiting()
    const waiting = next === undefined ? undefined : this.#waiting.get(next)
    if (next === undefined || waiting === undefined || waiting.lines.length === 0) return
    if (this.#clock.now() - waiting.since >= longestWait) this.#takeFloor(next)
  }

  #mostWaiting(): Vertex | undefined {
    let most: Vertex | undefined
    let count = -1
    for (const [vertex, { lines }] of this.#waiting) {
      if (lines.length <= count) continue
      most = vertex
      count = lines.length
    }
    return most
  }

  /** In one write: each of them wakes who reads. */
  #print({ index }: Vertex, lines: readonly string[], gap = ''): void {
    if (lines.length === 0) return
    this.#out.write(gap + lines.map(line => `#${index} ${line}\n`).join(''))
  }
}

function isWorthReporting(item: ProgressItem, last: ProgressItem | undefined): boolean {
  if (item.isDone) return last?.isDone !== true
  const since = item.updatedAt - (last?.updatedAt ?? item.startedAt)
  const share = item.total ? (item.current - (last?.current ?? 0)) / item.total : 0
  return since >= reportedAfter || (since >= reportedSooner.after && share >= reportedSooner.share)
}

function endLines(vertex: Vertex, { at, outcome }: { at: number; outcome: Outcome }): string[] {
  switch (outcome.kind) {
    case 'cached':
      return [outcome.from === undefined ? 'CACHED' : `CACHED (from cache ${outcome.from})`]
    case 'worked':
      return [`DONE ${formatSeconds(at - vertex.startedAt)}`]
    case 'failed':
      return [`ERROR: ${outcome.message}`]
    case 'canceled':
      return ['CANCELED']
  }
}
