/**
 * The value of `--chmod` (C17): octal, or symbolic as of chmod(1).
 */
import { DockerfileError } from './error.ts'

export type Mode =
  | { readonly kind: 'octal'; readonly mode: number }
  | { readonly kind: 'symbolic'; readonly clauses: readonly ModeClause[] }

/** `u+rwX`: whose bits, what happens to them, which. */
export interface ModeClause {
  /** Of `ugo`; empty when none was named, which is all of them. */
  readonly who: string
  readonly operator: '+' | '-' | '='
  /** Of `rwxXst`, or one of `ugo` to copy from. */
  readonly what: string
}

/** Throws DockerfileError. */
export function parseMode(text: string): Mode {
  if (/^[0-7]+$/.test(text)) {
    const mode = Number.parseInt(text, 8)
    if (mode <= 0o7777) return { kind: 'octal', mode }
    throw notOctal(text)
  }
  if (/^\d/.test(text)) throw notOctal(text)
  return { kind: 'symbolic', clauses: text.split(',').flatMap(part => parseClauses(part, text)) }
}

/** The mode of a file or directory that had `mode` before. Bits of the type are left alone. */
export function applyMode(change: Mode, mode: number, isDirectory: boolean): number {
  const kept = mode & ~0o7777
  if (change.kind === 'octal') return kept | change.mode
  return change.clauses.reduce((bits, clause) => applyClause(clause, bits, isDirectory), mode)
}

function notOctal(text: string): DockerfileError {
  return new DockerfileError(
    `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`,
  )
}

function parseClauses(part: string, text: string): ModeClause[] {
  const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(part)
  if (match === null) throw new DockerfileError(`invalid chmod parameter: '${text}'`)
  const [, who = '', actions = ''] = match
  return [...actions.matchAll(/([-+=])([^-+=]*)/g)].map(([, operator, what = '']) => ({
    who: who.includes('a') ? 'ugo' : who,
    operator: operator === '+' || operator === '-' ? operator : '=',
    what,
  }))
}

const shifts = { u: 6, g: 3, o: 0 } as const
const permissions = { r: 4, w: 2, x: 1 } as const
const classes = Object.keys(shifts) as (keyof typeof shifts)[]

function applyClause(clause: ModeClause, mode: number, isDirectory: boolean): number {
  const who = clause.who === '' ? 'ugo' : clause.who
  const bits = bitsOf(clause.what, who, { mode, isDirectory })
  if (clause.operator === '+') return mode | bits
  if (clause.operator === '-') return mode & ~bits
  return (mode & ~maskOf(who)) | bits
}

/** What `=` replaces for a class: its three bits, and setuid or setgid. */
function maskOf(who: string): number {
  const special = (who.includes('u') ? 0o4000 : 0) | (who.includes('g') ? 0o2000 : 0)
  const sticky = who === 'ugo' ? 0o1000 : 0
  return classes.reduce(
    (mask, name) => (who.includes(name) ? mask | (0o7 << shifts[name]) : mask),
    special | sticky,
  )
}

function bitsOf(
  what: string,
  who: string,
  file: { readonly mode: number; readonly isDirectory: boolean },
): number {
  const copied = classes.find(name => name === what)
  const triple = copied === undefined ? tripleOf(what, file) : (file.mode >> shifts[copied]) & 0o7
  const plain = classes.reduce(
    (bits, name) => (who.includes(name) ? bits | (triple << shifts[name]) : bits),
    0,
  )
  return plain | specialBits(what, who)
}

/** `X` is execute where it means entering a directory, or where someone may execute already. */
function tripleOf(what: string, file: { readonly mode: number; readonly isDirectory: boolean }) {
  const canEnter = what.includes('X') && (file.isDirectory || (file.mode & 0o111) !== 0)
  return (Object.keys(permissions) as (keyof typeof permissions)[]).reduce(
    (bits, name) => (what.includes(name) ? bits | permissions[name] : bits),
    canEnter ? 1 : 0,
  )
}

function specialBits(what: string, who: string): number {
  const setuid = what.includes('s') && who.includes('u') ? 0o4000 : 0
  const setgid = what.includes('s') && who.includes('g') ? 0o2000 : 0
  return setuid | setgid | (what.includes('t') ? 0o1000 : 0)
}
