/**
 * Durations in Go's notation: `1h30m`, `500ms`, `1.5s`; held as nanoseconds.
 */
import { DockerfileError } from './error.ts'
import { goQuote } from './go-quote.ts'

const units: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
}

/** Nanoseconds, possibly negative. Throws DockerfileError. */
export function parseDuration(text: string): number {
  const unsigned = text.replace(/^[+-]/, '')
  if (unsigned === '0') return 0
  // Each expression decides at every character: a long one takes no longer than its length.
  if (!/^(?:(?:\d+(?:\.\d*)?|\.\d+)[^\d.]+)+$/u.test(unsigned)) {
    const missing = /^[\d.]+$/.test(unsigned) && /\d/.test(unsigned)
    throw new DockerfileError(
      `time: ${missing ? 'missing unit in' : 'invalid'} duration ${goQuote(text)}`,
    )
  }
  let total = 0
  for (const [, digits = '', unit = ''] of unsigned.matchAll(/([\d.]+)([^\d.]+)/gu)) {
    const scale = Object.hasOwn(units, unit) ? units[unit] : undefined
    if (scale === undefined) {
      throw new DockerfileError(`time: unknown unit ${goQuote(unit)} in duration ${goQuote(text)}`)
    }
    total += Number(digits) * scale
  }
  return Math.round(text.startsWith('-') ? -total : total)
}

/** Go's own notation of a duration: `1m30s`, `500ms`, `0s`. */
export function formatDuration(nanoseconds: number): string {
  const sub = (['ns', 'µs', 'ms'] as const).find(unit => nanoseconds < (units[unit] ?? 1) * 1000)
  if (nanoseconds === 0) return '0s'
  if (sub !== undefined) return `${nanoseconds / (units[sub] ?? 1)}${sub}`
  const hours = Math.floor(nanoseconds / 3600e9)
  const minutes = Math.floor((nanoseconds % 3600e9) / 60e9)
  const seconds = (nanoseconds % 60e9) / 1e9
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`
}
