/** Trace: the build so far, as its events tell it. Renderers read it; `apply` is its only writer. */
import type { BuildEvent } from '../../builder/build-event.ts'
import { missText } from '../../builder/explain/miss.ts'
import { printable } from '../../oci/errors.ts'
import { LogLines, safeLine } from './log-lines.ts'

/** Lines of a step's output that are shown again when it fails. */
const keptLines = 10

export interface LogLine {
  /** Seconds since the vertex started. */
  readonly seconds: number
  /** Safe to print; its colours kept. */
  readonly text: string
}

export interface ProgressItem {
  readonly name: string
  readonly startedAt: number
  readonly updatedAt: number
  /** Bytes. */
  readonly current: number
  readonly total: number | undefined
  readonly isDone: boolean
}

export type Outcome =
  | { readonly kind: 'worked' }
  /** `from`: the imported cache that had it. */
  | { readonly kind: 'cached'; readonly from?: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'canceled' }

export interface Vertex {
  /** From 1, in the order they started. */
  readonly index: number
  readonly name: string
  /** Milliseconds. */
  readonly startedAt: number
  readonly end: { readonly at: number; readonly outcome: Outcome } | undefined
  /** Why it was not in the cache. */
  readonly missed: string | undefined
  readonly items: ReadonlyMap<string, ProgressItem>
  /** The last lines of its output. */
  readonly tail: readonly LogLine[]
  readonly output: Readonly<Record<'stdout' | 'stderr', Pick<LogLines, 'partial'>>>
}

interface MutableVertex extends Vertex {
  end: Vertex['end']
  missed: Vertex['missed']
  readonly items: Map<string, ProgressItem>
  readonly tail: LogLine[]
  readonly output: Readonly<Record<'stdout' | 'stderr', LogLines>>
}

/** What an event changed. */
export type Change =
  | {
      readonly kind: 'started' | 'ended'
      readonly vertex: Vertex
      readonly lines: readonly LogLine[]
    }
  | { readonly kind: 'log'; readonly vertex: Vertex; readonly lines: readonly LogLine[] }
  | { readonly kind: 'item'; readonly vertex: Vertex; readonly item: ProgressItem }
  | { readonly kind: 'warning'; readonly vertex: Vertex; readonly message: string }
  | { readonly kind: 'missed'; readonly vertex: Vertex; readonly why: string }
  /** Of the build as a whole, or of a vertex that nobody started. */
  | { readonly kind: 'nothing' }

export class Trace {
  readonly #vertices = new Map<string, MutableVertex>()
  readonly #warnings: string[] = []
  readonly startedAt: number

  constructor(startedAt: number) {
    this.startedAt = startedAt
  }

  get vertices(): readonly Vertex[] {
    return [...this.#vertices.values()]
  }

  /** All of them, once more at the end. */
  get warnings(): readonly string[] {
    return this.#warnings
  }

  /** `now` in milliseconds. */
  apply(event: BuildEvent, now: number): Change {
    if (event.kind === 'started') return this.#start(event, now)
    const vertex = event.id === undefined ? undefined : this.#vertices.get(event.id)
    if (event.kind === 'warning') return this.#warn(vertex, printable(event.message, 1000))
    return vertex === undefined ? { kind: 'nothing' } : applyTo(vertex, event, now)
  }

  #start(event: Extract<BuildEvent, { kind: 'started' }>, now: number): Change {
    const vertex: MutableVertex = {
      index: this.#vertices.size + 1,
      name: printable(event.name, 1000),
      startedAt: now,
      end: undefined,
      missed: undefined,
      items: new Map(),
      tail: [],
      output: { stdout: new LogLines(), stderr: new LogLines() },
    }
    this.#vertices.set(event.id, vertex)
    return { kind: 'started', vertex, lines: [] }
  }

  #warn(vertex: Vertex | undefined, message: string): Change {
    this.#warnings.push(message)
    return vertex === undefined ? { kind: 'nothing' } : { kind: 'warning', vertex, message }
  }
}

function applyTo(
  vertex: MutableVertex,
  event: Exclude<BuildEvent, { kind: 'started' | 'warning' }>,
  now: number,
): Change {
  switch (event.kind) {
    case 'log':
      return {
        kind: 'log',
        vertex,
        lines: keep(vertex, vertex.output[event.stream].push(event.bytes), now),
      }
    case 'miss':
      // Of a first build it would be said of every step.
      if (event.miss.causes[0]?.kind === 'first') return { kind: 'nothing' }
      vertex.missed = missText(event.miss)
      return { kind: 'missed', vertex, why: vertex.missed }
    case 'status':
      return { kind: 'item', vertex, item: updateItem(vertex, event, now) }
    case 'done':
      return end(vertex, doneOutcome(event), now)
    case 'failed':
      return end(vertex, { kind: 'failed', message: printable(event.message, 2000) }, now)
    case 'canceled':
      return end(vertex, { kind: 'canceled' }, now)
  }
}

function doneOutcome({ how, from }: Extract<BuildEvent, { kind: 'done' }>): Outcome {
  return how === 'worked' || from === undefined
    ? { kind: how }
    : { kind: how, from: printable(from) }
}

function updateItem(
  vertex: MutableVertex,
  event: Extract<BuildEvent, { kind: 'status' }>,
  now: number,
): ProgressItem {
  const item = {
    name: printable(event.item),
    startedAt: vertex.items.get(event.item)?.startedAt ?? now,
    updatedAt: now,
    current: event.current,
    total: event.total,
    isDone: event.isDone,
  }
  vertex.items.set(event.item, item)
  return item
}

function end(vertex: MutableVertex, outcome: Outcome, now: number): Change {
  const { stdout, stderr } = vertex.output
  const lines = keep(vertex, [...stdout.end(), ...stderr.end()], now)
  vertex.end = { at: now, outcome }
  return { kind: 'ended', vertex, lines }
}

function keep(vertex: MutableVertex, raw: readonly string[], now: number): LogLine[] {
  const seconds = (now - vertex.startedAt) / 1000
  const lines = raw.map(line => ({ seconds, text: safeLine(line, 'keep') }))
  vertex.tail.push(...lines.slice(-keptLines))
  vertex.tail.splice(0, Math.max(0, vertex.tail.length - keptLines))
  return lines
}
