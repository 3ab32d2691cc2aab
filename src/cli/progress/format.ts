/** Numbers and lines that the renderers share. */
import { styled, type Terminal } from '../terminal.ts'
import { safeLine } from './log-lines.ts'
import type { LogLine, Outcome, ProgressItem, Vertex } from './trace.ts'

const units = ['B', 'kB', 'MB', 'GB', 'TB']

/** Decimal, as docker's: `1.05MB`, `512B`. */
function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.995 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(2)}${units[unit]}`
}

/** `1.2s`. */
export function formatSeconds(milliseconds: number): string {
  return `${(Math.max(0, milliseconds) / 1000).toFixed(1)}s`
}

/** Five characters, four digits: `0.312`, `12.35`, `123.5`. */
function formatLogTime(seconds: number): string {
  if (seconds >= 1000) return seconds.toFixed(0).padStart(5)
  return seconds.toFixed(seconds < 10 ? 3 : seconds < 100 ? 2 : 1)
}

/** ` 1.05MB / 3.40MB`, with its leading space; nothing when nothing is counted. */
export function formatAmount({ current, total }: ProgressItem): string {
  if (total !== undefined && total > 0) return ` ${formatBytes(current)} / ${formatBytes(total)}`
  return current > 0 ? ` ${formatBytes(current)}` : ''
}

/** ` 12.30MB/s`, on average; nothing before a second has passed. */
export function formatRate({ current }: ProgressItem, milliseconds: number): string {
  if (milliseconds < 1000 || current === 0) return ''
  return ` ${formatBytes(Math.round((current * 1000) / milliseconds))}/s`
}

export function formatLogLine(
  { seconds, text }: LogLine,
  terminal: { readonly hasColor: boolean },
): string {
  return `${formatLogTime(seconds)} ${terminal.hasColor ? text : safeLine(text, 'strip')}`
}

function isFailed(vertex: Vertex): vertex is Vertex & {
  readonly end: { readonly outcome: Extract<Outcome, { kind: 'failed' }> }
} {
  return vertex.end?.outcome.kind === 'failed'
}

/** The last output of each failed step, between rules: shown after everything else. */
export function failureLogs(vertices: readonly Vertex[], out: Terminal): string {
  return vertices
    .filter(vertex => isFailed(vertex) && vertex.tail.length > 0)
    .map(vertex => {
      const lines = vertex.tail.map(line => `${formatLogLine(line, out)}\n`)
      return `------\n > ${styled(vertex.name, 'bold', out)}:\n${lines.join('')}------\n`
    })
    .join('')
}

export function warningList(warnings: readonly string[], out: Terminal): string {
  if (warnings.length === 0) return ''
  const count = `${warnings.length} warning${warnings.length === 1 ? '' : 's'} found:`
  const lines = warnings.map(warning => ` - ${warning}\n`)
  return `\n ${styled(count, 'yellow', out)}\n${lines.join('')}`
}
