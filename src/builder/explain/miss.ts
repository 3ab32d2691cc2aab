/**
 * Miss: why a step could not use an earlier result, as plain values. It is told in one line while
 * the build runs, and kept with the build for `tsbuild why`.
 *
 * A step is compared with the same step of the last build of the same Dockerfile and context.
 */
import { printable } from '../../oci/errors.ts'

export type CauseKind =
  /** No build of this Dockerfile got this far before. */
  | 'first'
  | 'no-cache'
  /** Nothing changed, but the earlier result is no longer in the store. */
  | 'pruned'
  /** Nothing changed, but the step did not end well the last time. */
  | 'unfinished'
  | 'instruction'
  | 'file'
  /** An ARG or ENV that the step sees. */
  | 'variable'
  /** The digest of a base image. */
  | 'image'
  /** What a URL or a repository has now. */
  | 'source'
  /** A flag of the instruction, or of the command line. */
  | 'setting'
  /** What the step builds on, or reads from. */
  | 'parent'

export interface Cause {
  readonly kind: CauseKind
  /** Which one: a path, `ARG VERSION`, the name of an image or of a step. */
  readonly subject?: string
  readonly changes?: readonly Change[]
}

export interface Change {
  /** `added`, `removed`, `content`, `mode`, `owner`, `attributes`, `value`, `digest`, `text`. */
  readonly what: string
  readonly from?: string
  readonly to?: string
}

export interface Miss {
  /** The most telling first; at most {@link keptCauses}. */
  readonly causes: readonly Cause[]
  /** How many more there are. */
  readonly more: number
  /** Where the change began, when it was in another step. */
  readonly root?: RootCause
}

export interface RootCause {
  /** `[build 2/5] COPY . .` */
  readonly step: string
  readonly causes: readonly Cause[]
  readonly more: number
}

/** A changed context may have any number of changed files. */
export const keptCauses = 100

/** Of which as many are told in one line. */
const toldCauses = 3

export function missOf(causes: readonly Cause[], root?: RootCause): Miss {
  const more = Math.max(0, causes.length - keptCauses)
  return { causes: causes.slice(0, keptCauses), more, ...(root === undefined ? {} : { root }) }
}

/** In one line: `src/a.ts: mode 644 → 664, src/b.ts: added and 12 more`. */
export function missText({ causes, more, root }: Miss): string {
  const own = causesText(causes, more)
  if (root === undefined) return own
  const began = `${root.step} changed: ${causesText(root.causes, root.more)}`
  return causes.every(({ kind }) => kind === 'parent') ? began : `${own}, because ${began}`
}

function causesText(causes: readonly Cause[], more: number): string {
  const told = causes.slice(0, toldCauses).map(causeText).join(', ')
  const rest = causes.length + more - toldCauses
  return rest > 0 ? `${told} and ${rest} more` : told
}

const fixedTexts: Partial<Record<CauseKind, string>> = {
  first: 'never built here before',
  'no-cache': 'earlier results are not used (--no-cache)',
  pruned: 'nothing changed, but the earlier result is no longer in the store',
  unfinished: 'nothing changed, but it did not end well the last time',
}

/** One cause in words, safe to print. */
export function causeText({ kind, subject = '', changes = [] }: Cause): string {
  const fixed = fixedTexts[kind]
  if (fixed !== undefined) return fixed
  const told = changes.map(changeText).join(', ')
  if (kind === 'parent') return `${printable(subject, 200)} changed`
  if (kind === 'instruction') return instructionText(changes)
  if (kind === 'file') return `${printable(subject, 200)}: ${told}`
  return `${printable(subject, 200)} changed${told === '' ? '' : `: ${told}`}`
}

function instructionText([change]: readonly Change[]): string {
  if (change?.from === undefined) return 'the instruction is new'
  return `the instruction changed, it was ${shown(change.from)}`
}

function changeText({ what, from, to }: Change): string {
  const name = ['value', 'digest', 'text'].includes(what) ? '' : `${what} `
  if (from !== undefined && to !== undefined) return `${name}${shown(from)} → ${shown(to)}`
  if (to !== undefined) return `now ${shown(to)}`
  if (from !== undefined) return `no longer ${shown(from)}`
  return name.trim()
}

function shown(value = ''): string {
  return value === '' ? '(empty)' : printable(value, 80)
}
