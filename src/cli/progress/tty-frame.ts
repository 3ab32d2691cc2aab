/**
 * One frame of the terminal progress: a function of the trace, the time and the terminal's size.
 *
 *   [+] Building 1.2s (5/7)
 *    => CACHED [stage 1/2] FROM busybox                       0.0s
 *    => [stage 2/2] RUN make                                  1.1s
 *    => => # the last lines of its output
 *
 * No line is wider than the terminal, and no frame higher: finished vertices make room first, then
 * the log tails, then the oldest running ones.
 */
import { type Style, styled } from '../terminal.ts'
import { displayWidth, padTo, truncate } from './display-width.ts'
import { formatAmount, formatRate, formatSeconds } from './format.ts'
import { safeLine } from './log-lines.ts'
import type { Outcome, ProgressItem, Trace, Vertex } from './trace.ts'

export interface FrameOptions {
  readonly title: string
  /** Milliseconds. */
  readonly now: number
  readonly columns: number
  /** `all`: the last frame, which may scroll. */
  readonly rows: number | 'all'
  readonly hasColor: boolean
  /** Lines of output under a running step. */
  readonly tailLines: number
}

export function frameLines(trace: Trace, options: FrameOptions): string[] {
  const { vertices } = trace
  const rows = options.rows === 'all' ? Number.POSITIVE_INFINITY : Math.max(1, options.rows)
  const blocks = vertices.map(vertex => vertexLines(vertex, options))
  return [headerLine(trace, options), ...fitBlocks(vertices, blocks, rows - 1).flat()]
}

function headerLine({ vertices, startedAt }: Trace, options: FrameOptions): string {
  const ended = vertices.filter(vertex => vertex.end !== undefined)
  const counts = `(${ended.length}/${vertices.length})`
  const { label, style } = ending(vertices, options)
  const text = `[+] ${options.title} ${formatSeconds(options.now - startedAt)} ${counts}${label}`
  const cut = truncate(text, options.columns)
  return style === undefined ? cut : styled(cut, style, options)
}

/** Only the last frame knows how it ended; one before a shell has something open. */
function ending(vertices: readonly Vertex[], { rows }: FrameOptions): Appearance {
  if (rows !== 'all') return { label: '', style: undefined }
  const has = (kind: Outcome['kind']) => vertices.some(({ end }) => end?.outcome.kind === kind)
  if (has('failed')) return { label: ' FAILED', style: 'red' }
  if (has('canceled')) return { label: ' CANCELED', style: 'yellow' }
  const isOpen = vertices.some(({ end }) => end === undefined)
  return isOpen ? { label: '', style: undefined } : { label: ' FINISHED', style: 'blue' }
}

type Block = readonly string[]

/** Drops blocks of ended vertices, oldest first; then tails; then whatever stands highest. */
function fitBlocks(vertices: readonly Vertex[], blocks: readonly Block[], rows: number): Block[] {
  const height = (all: readonly Block[]) => all.reduce((sum, block) => sum + block.length, 0)
  let excess = height(blocks) - rows
  const kept = blocks.filter((block, index) => {
    if (excess <= 0 || vertices[index]?.end === undefined) return true
    excess -= block.length
    return false
  })
  const trimmed = kept.map(block => {
    const dropped = Math.min(Math.max(0, excess), block.length - 1)
    excess -= dropped
    return dropped === 0 ? block : [...block.slice(0, 1), ...block.slice(1 + dropped)]
  })
  return trimmed.slice(Math.max(0, Math.min(excess, trimmed.length)))
}

function vertexLines(vertex: Vertex, options: FrameOptions): string[] {
  const { label, style } = appearance(vertex)
  const took = (vertex.end?.at ?? options.now) - vertex.startedAt
  return [
    columnsLine(` => ${label}${vertex.name}`, { time: took, style }, options),
    ...Array.from(vertex.items.values(), item => itemLine(item, vertex, options)),
    ...reasonLines(vertex, options),
    ...tailLines(vertex, options),
  ]
}

interface Appearance {
  readonly label: string
  readonly style: Style | undefined
}

function appearance({ end }: Vertex): Appearance {
  switch (end?.outcome.kind) {
    case undefined:
      return { label: '', style: undefined }
    case 'cached':
      return { label: 'CACHED ', style: 'blue' }
    case 'worked':
      return { label: '', style: 'blue' }
    case 'failed':
      return { label: 'ERROR ', style: 'red' }
    case 'canceled':
      return { label: 'CANCELED ', style: 'yellow' }
  }
}

function itemLine(item: ProgressItem, { end }: Vertex, options: FrameOptions): string {
  const isOver = item.isDone || end !== undefined
  const time = (isOver ? item.updatedAt : options.now) - item.startedAt
  const text = ` => => ${item.name}`
  const rate = isOver ? '' : formatRate(item, time)
  const whole = `${formatAmount(item)}${rate}`
  // The name is worth more than the rate where there is no room for both.
  const amount = whole.length > options.columns / 2 ? formatAmount(item) : whole
  const room = options.columns - displayWidth(amount) - formatSeconds(time).length - 1
  const style = isOver ? 'blue' : undefined
  return columnsLine(`${truncate(text, room)}${amount}`, { time, style }, options)
}

function reasonLines({ missed, end }: Vertex, options: FrameOptions): string[] {
  const from = end?.outcome.kind === 'cached' ? end.outcome.from : undefined
  const reason = from === undefined ? missed && `not cached: ${missed}` : `from cache ${from}`
  if (reason === undefined) return []
  const text = truncate(` => => ${reason}`, options.columns)
  return [styled(text, 'dim', options)]
}

function tailLines(vertex: Vertex, options: FrameOptions): string[] {
  if (vertex.end !== undefined) return []
  const { stdout, stderr } = vertex.output
  const open = [stdout.partial, stderr.partial].filter(line => line !== '')
  const all = [...vertex.tail.map(({ text }) => text), ...open]
  const tail = options.tailLines > 0 ? all.slice(-options.tailLines) : []
  return tail.map(text => {
    const line = truncate(` => => # ${safeLine(text, 'strip')}`, options.columns)
    return styled(line, 'dim', options)
  })
}

/** Text on the left, the time at the right edge. */
function columnsLine(
  text: string,
  { time, style }: { readonly time: number; readonly style: Style | undefined },
  options: FrameOptions,
): string {
  const right = formatSeconds(time)
  const room = options.columns - right.length - 1
  const line = room < 8 ? truncate(text, options.columns) : `${padTo(text, room)} ${right}`
  return style === undefined ? line : styled(line, style, options)
}
