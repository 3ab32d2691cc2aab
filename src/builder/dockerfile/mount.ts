/**
 * `RUN --mount=…` (R07, R08): a list of `key=value`, checked against what its type allows.
 *
 * Values may hold variables, so all but `from` is parsed when they are known.
 */
import { csvFields } from './csv.ts'
import { parseBoolean } from './directive.ts'
import { DockerfileError, prefixed } from './error.ts'
import { goQuote } from './go-quote.ts'
import type { MountFlag } from './instruction.ts'
import { parseSize } from './size.ts'
import { didYouMean } from './suggest.ts'

export const mountTypes = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const
export type MountType = (typeof mountTypes)[number]

const sharingModes = ['shared', 'private', 'locked'] as const
export type Sharing = (typeof sharingModes)[number]

/** A mount as written; what a type does not use is absent. */
export interface Mount {
  readonly type: MountType
  readonly from?: string
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
  readonly id: string
  readonly sharing?: Sharing
  readonly required: boolean
  /** Bytes of a tmpfs. */
  readonly size?: number
  readonly env?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

/** The spellings of each key; the first is the one shown in the docs. */
export const mountKeys = {
  type: ['type'],
  from: ['from'],
  source: ['source', 'src'],
  target: ['target', 'dst', 'destination'],
  readonly: ['readonly', 'ro'],
  readwrite: ['readwrite', 'rw'],
  id: ['id'],
  sharing: ['sharing'],
  required: ['required'],
  size: ['size'],
  mode: ['mode'],
  uid: ['uid'],
  gid: ['gid'],
  env: ['env'],
} as const

type MountKey = keyof typeof mountKeys

/** What can be said before variables are known: whether it is a list, and where it mounts from. */
export function parseMountFlag(text: string): MountFlag {
  let from: string | undefined
  for (const field of fieldsOf(text)) {
    const { key, value } = splitField(field)
    if (key !== 'from' || value === undefined) continue
    const dollar = value.indexOf('$')
    if (dollar !== -1 && dollar !== value.length - 1) {
      throw new DockerfileError(
        "'from' doesn't support variable expansion, define alias stage instead",
      )
    }
    from = value
  }
  return from === undefined ? { text } : { text, from }
}

/** The mount, its values passed through `expandValue`. Throws DockerfileError. */
export function parseMount(text: string, expandValue: (value: string) => string): Mount {
  const draft: Draft = { type: 'bind', source: '', target: '', id: '', required: false }
  for (const field of fieldsOf(text)) {
    const { key, value } = splitField(field)
    if (value === undefined) applyBareKey(draft, key, field)
    else applyKey(draft, { key, value: expandValue(value), field })
  }
  refuseFileOwner(draft)
  refuseSecret(draft)
  if (draft.sharing !== undefined && draft.type !== 'cache') {
    throw new DockerfileError(`invalid cache sharing set for ${draft.type} mount`)
  }
  const writable = draft.type === 'cache' || draft.type === 'tmpfs'
  const { readOnly = !writable, ...rest } = draft
  return { ...rest, readOnly }
}

type Draft = { -readonly [Key in keyof Mount]: Mount[Key] } extends infer Open
  ? Omit<Open, 'readOnly'> & { readOnly?: boolean }
  : never

interface Field {
  readonly key: string
  readonly value: string
  readonly field: string
}

function fieldsOf(text: string): string[] {
  try {
    return csvFields(text)
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw prefixed('failed to parse csv mounts: ', error)
  }
}

function splitField(field: string): { key: string; value: string | undefined } {
  const equals = field.indexOf('=')
  if (equals === -1) return { key: field.toLowerCase(), value: undefined }
  return { key: field.slice(0, equals).toLowerCase(), value: field.slice(equals + 1) }
}

function applyBareKey(draft: Draft, typed: string, field: string): void {
  const key = mountKeyOf(typed)
  if (key === 'readonly' || key === 'readwrite') {
    draft.readOnly = key === 'readonly'
    return
  }
  if (key !== 'required') {
    throw new DockerfileError(`invalid field '${field}' must be a key=value pair`)
  }
  refuseUnlessTypeIs(draft, typed, ['secret', 'ssh'])
  draft.required = true
}

const setters: Readonly<Record<MountKey, (draft: Draft, field: Field) => void>> = {
  type: (draft, { value }) => {
    const type = oneOf(mountTypes, value.toLowerCase())
    if (type === undefined) {
      throw new DockerfileError(
        `unsupported mount type ${goQuote(value)}${didYouMean(value, mountTypes)}`,
      )
    }
    draft.type = type
  },
  from: (draft, { value }) => {
    draft.from = value
  },
  source: (draft, { value }) => {
    draft.source = value
  },
  target: (draft, { value }) => {
    draft.target = value
  },
  readonly: (draft, field) => {
    draft.readOnly = booleanOf(field)
  },
  readwrite: (draft, field) => {
    draft.readOnly = !booleanOf(field)
  },
  id: (draft, { value }) => {
    draft.id = value
  },
  sharing: (draft, { value }) => {
    const sharing = oneOf(sharingModes, value.toLowerCase())
    if (sharing === undefined) {
      throw new DockerfileError(
        `unsupported sharing value ${goQuote(value)}${didYouMean(value, sharingModes)}`,
      )
    }
    draft.sharing = sharing
  },
  required: (draft, field) => {
    refuseUnlessTypeIs(draft, field.key, ['secret', 'ssh'])
    draft.required = booleanOf(field)
  },
  size: (draft, { key, value }) => {
    refuseUnlessTypeIs(draft, key, ['tmpfs'])
    draft.size = parseSize(value) ?? invalidValue(key, value)
  },
  mode: (draft, field) => {
    draft.mode = numberOf(field, 8)
  },
  uid: (draft, field) => {
    draft.uid = numberOf(field, 10)
  },
  gid: (draft, field) => {
    draft.gid = numberOf(field, 10)
  },
  env: (draft, { value }) => {
    draft.env = value
  },
}

function applyKey(draft: Draft, field: Field): void {
  const key = mountKeyOf(field.key)
  if (key === undefined) {
    // Of two words that are as near, the one that is not an alias is meant.
    const spellings = Object.values(mountKeys)
    const aliases = spellings.flatMap(([, ...others]) => others)
    const known = [...spellings.map(([shown]) => shown), ...aliases]
    throw new DockerfileError(
      `unexpected key '${field.key}' in '${field.field}'${didYouMean(field.key, known)}`,
    )
  }
  setters[key](draft, field)
}

function mountKeyOf(typed: string): MountKey | undefined {
  const keys = Object.keys(mountKeys) as MountKey[]
  return keys.find(key => (mountKeys[key] as readonly string[]).includes(typed))
}

function refuseUnlessTypeIs(draft: Draft, key: string, types: readonly MountType[]): void {
  if (types.includes(draft.type)) return
  throw new DockerfileError(`unexpected key '${key}' for mount type '${draft.type}'`)
}

/** mode, uid and gid are of a file or directory that is made for the mount. */
function refuseFileOwner(draft: Draft): void {
  if (draft.type !== 'bind' && draft.type !== 'tmpfs') return
  for (const key of ['mode', 'uid', 'gid'] as const) {
    if (draft[key] !== undefined) {
      throw new DockerfileError(`${key} not allowed for "${draft.type}" type mounts`)
    }
  }
}

function refuseSecret(draft: Draft): void {
  if (draft.type !== 'secret') return
  if (draft.from !== undefined && draft.from !== '') {
    throw new DockerfileError('secret mount should not have a from')
  }
  if (draft.sharing !== undefined) {
    throw new DockerfileError('secret mount should not define sharing')
  }
  if (draft.source === '' && draft.target === '' && draft.id === '') {
    throw new DockerfileError('invalid secret mount. one of source, target required')
  }
  if (draft.source !== '' && draft.id !== '') {
    throw new DockerfileError("both source and id can't be set")
  }
}

function booleanOf({ key, value }: Field): boolean {
  return parseBoolean(value) ?? invalidValue(key, value)
}

function invalidValue(key: string, value: string): never {
  throw new DockerfileError(`invalid value for ${key}: ${value}`)
}

function numberOf({ key, value }: Field, radix: 8 | 10): number {
  const number = (radix === 8 ? /^[0-7]+$/ : /^[0-9]+$/).test(value)
    ? Number.parseInt(value, radix)
    : Number.NaN
  if (number <= 0xffffffff) return number
  throw new DockerfileError(`invalid value ${value} for ${key}`)
}

function oneOf<T extends string>(options: readonly T[], value: string): T | undefined {
  return options.find(option => option === value)
}
