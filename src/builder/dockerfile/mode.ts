/**
 * The value of `--chmod` (C17): octal, or symbolic as of chmod(1).
 */
import { DockerfileError } from './error.ts'

export type Mode =
  | { readonly kind: 'octal'; readonly mode: number }
  | { readonly kind: 'symbolic'; readonly clauses: readonly ModeClause[] }

/** `u+rwX`: whose bits, what happens to them, which. */
export interface ModeClause {
  /** Of `ugo`, and `t` where the sticky bit is meant. */
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

/**
 * As the chmod of the BSDs, which BuildKit's is: `u=rg` is `u=r` and then `u=g`. The sticky bit is
 * nobody's: `t` means it unless others alone are named, and without any name it means nothing else.
 */
function parseClauses(part: string, text: string): ModeClause[] {
  const match = /^([ugoa]*)((?:[-+=][rwxXstugo]*)+)$/.exec(part)
  if (match === null) throw new DockerfileError(`invalid chmod parameter: '${text}'`)
  const [, named = '', actions = ''] = match
  const all = named.includes('a') ? 'ugo' : named
  return [...actions.matchAll(/([-+=])([^-+=]*)/g)].flatMap(([, sign, list = '']) => {
    const operator = sign === '+' || sign === '-' ? sign : '='
    let who = all
    return (list.match(/[rwxXst]+|[ugo]/g) ?? ['']).map(what => {
      if (what.includes('t') && !/^o+$/.test(who)) who += 't'
      return { who: who === '' ? 'ugo' : who, operator, what }
    })
  })
}

const shifts = { u: 6, g: 3, o: 0 } as const
const permissions = { r: 4, w: 2, x: 1 } as const
const classes = Object.keys(shifts) as (keyof typeof shifts)[]

function applyClause({ who, operator, what }: ModeClause, mode: number, isDirectory: boolean) {
  const copied = classes.find(name => name === what)
  const bits =
    copied === undefined
      ? spread(tripleOf(what, { mode, isDirectory }), who) | (specialBits(what) & ownSpecial(who))
      : spread((mode >> shifts[copied]) & 0o7, who)
  if (operator === '+') return mode | bits
  if (operator === '-') return mode & ~bits
  // What is copied takes the place of read, write and execute alone.
  return (mode & ~(spread(0o7, who) | (copied === undefined ? ownSpecial(who) : 0))) | bits
}

/** Three bits, for each class that is named. */
function spread(triple: number, who: string): number {
  return classes.reduce(
    (bits, name) => (who.includes(name) ? bits | (triple << shifts[name]) : bits),
    0,
  )
}

/** `X` is execute where it means entering a directory, or where someone may execute already. */
function tripleOf(what: string, file: { readonly mode: number; readonly isDirectory: boolean }) {
  const canEnter = what.includes('X') && (file.isDirectory || (file.mode & 0o111) !== 0)
  return (Object.keys(permissions) as (keyof typeof permissions)[]).reduce(
    (bits, name) => (what.includes(name) ? bits | permissions[name] : bits),
    canEnter ? 1 : 0,
  )
}

function specialBits(what: string): number {
  return (what.includes('s') ? 0o6000 : 0) | (what.includes('t') ? 0o1000 : 0)
}

function ownSpecial(who: string): number {
  const [setuid, setgid, sticky] = [...'ugt'].map(name => who.includes(name))
  return (setuid ? 0o4000 : 0) | (setgid ? 0o2000 : 0) | (sticky ? 0o1000 : 0)
}
