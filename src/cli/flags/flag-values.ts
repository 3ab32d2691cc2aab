/** The texts that follow flags, as values: booleans, numbers, sizes and durations. */
import { OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

/** What `parse` gives; when it throws `invalid`, a usage error that says of what: `flag --memory`. */
export function parseAs<T>(subject: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw usageError(`Cannot use ${subject}: ${error.message}`)
  }
}

/** What Go's ParseBool accepts. Throws `invalid`. */
export function parseBoolean(text: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false
  throw expected('true or false', text)
}

/** Decimal, may be negative or have a fraction. Throws `invalid`. */
export function parseNumber(text: string): number {
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)$/.test(text)) throw expected('a number', text)
  return Number(text)
}

/** Throws `invalid`. */
export function parseInteger(text: string): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw expected('a whole number', text)
  return value
}

const sizeUnits = 'bkmgtp'

/** Bytes: `512m`, `1.5GiB`, `4096`. Units are powers of 1024, as docker has them. Throws `invalid`. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([bkmgtp])(?:i?b)?)?$/i.exec(text)
  const unit = match?.[2]?.toLowerCase() ?? 'b'
  const bytes = Math.floor(Number(match?.[1]) * 1024 ** sizeUnits.indexOf(unit))
  if (!Number.isSafeInteger(bytes)) throw expected('a size such as 512m or 2g', text)
  return bytes
}

const durationUnits: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
}

/** Milliseconds, from Go's form: `1h30m`, `10s`, `1.5s`, `0`. Throws `invalid`. */
export function parseDuration(text: string): number {
  if (text === '0') return 0
  if (!/^(\d+(\.\d+)?(h|ms|us|µs|ns|m|s))+$/.test(text)) {
    throw expected('a duration such as 90s or 1h30m', text)
  }
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)/g)
  return Array.from(parts, part => Number(part[1]) * (durationUnits[part[2] ?? ''] ?? 0)).reduce(
    (sum, part) => sum + part,
    0,
  )
}

/** Throws `invalid`. */
export function parseChoice(text: string, choices: readonly string[]): string {
  if (choices.includes(text)) return text
  throw expected(`one of ${choices.join(', ')}`, text)
}

function expected(what: string, text: string): OciError {
  return new OciError('invalid', `expected ${what}, got "${printable(text, 80)}"`)
}
