/**
 * The flags of each instruction (C01, L12): one table, read by the parser and by the docs.
 */
import { DockerfileError } from './error.ts'
import type { InstructionKind } from './instruction.ts'
import { didYouMean } from './suggest.ts'

/** `text`: once, with a value. `list`: as often as wanted. `boolean`: bare, `=true` or `=false`. */
export type FlagType = 'text' | 'list' | 'boolean'

type FlagTable = Readonly<Record<string, FlagType>>

/** ARG and STOPSIGNAL are absent: whatever looks like a flag there is passed over. */
export const flagTables = {
  add: {
    checksum: 'text',
    chmod: 'text',
    chown: 'text',
    exclude: 'list',
    'keep-git-dir': 'boolean',
    link: 'boolean',
    unpack: 'boolean',
  },
  cmd: {},
  copy: {
    chmod: 'text',
    chown: 'text',
    exclude: 'list',
    from: 'text',
    link: 'boolean',
    parents: 'boolean',
  },
  entrypoint: {},
  env: {},
  expose: {},
  from: { platform: 'text' },
  healthcheck: {
    interval: 'text',
    retries: 'text',
    'start-interval': 'text',
    'start-period': 'text',
    timeout: 'text',
  },
  label: {},
  maintainer: {},
  onbuild: {},
  run: { device: 'list', mount: 'list', network: 'text', security: 'text' },
  shell: {},
  user: {},
  volume: {},
  workdir: {},
} as const satisfies Partial<Record<InstructionKind, FlagTable>>

export type FlaggedKind = keyof typeof flagTables
type FlagsOf<Kind extends FlaggedKind, Type extends FlagType> = {
  [Name in keyof (typeof flagTables)[Kind]]: (typeof flagTables)[Kind][Name] extends Type
    ? Name
    : never
}[keyof (typeof flagTables)[Kind]]

/** The flags one instruction was given. */
export interface Flags<Kind extends FlaggedKind> {
  text(name: FlagsOf<Kind, 'text'>): string | undefined
  list(name: FlagsOf<Kind, 'list'>): readonly string[]
  boolean(name: FlagsOf<Kind, 'boolean'>): boolean | undefined
}

/** Throws DockerfileError for a flag that is unknown, given twice, or has a wrong value. */
export function parseFlags<Kind extends FlaggedKind>(
  kind: Kind,
  words: readonly string[],
): Flags<Kind> {
  const table: FlagTable = flagTables[kind]
  const given = new Map<string, string[]>()
  for (const word of words) {
    const equals = word.indexOf('=')
    const flag = equals === -1 ? word : word.slice(0, equals)
    const value = equals === -1 ? undefined : word.slice(equals + 1)
    const name = flag.slice(2)
    const type = typeOf(table, name)
    const before = given.get(name)
    if (before !== undefined && type !== 'list') {
      throw new DockerfileError(`duplicate flag specified: ${flag}`)
    }
    given.set(name, [...(before ?? []), checkedValue(type, flag, value)])
  }
  return {
    text: name => given.get(String(name))?.[0],
    list: name => given.get(String(name)) ?? [],
    boolean: name => {
      const value = given.get(String(name))?.[0]
      return value === undefined ? undefined : value === 'true'
    },
  }
}

function typeOf(table: FlagTable, name: string): FlagType {
  const type = Object.hasOwn(table, name) ? table[name] : undefined
  if (type !== undefined) return type
  throw new DockerfileError(`unknown flag: --${name}${didYouMean(name, Object.keys(table))}`)
}

function checkedValue(type: FlagType, flag: string, value: string | undefined): string {
  if (type !== 'boolean') return value ?? missingValue(flag)
  if (value === '') return missingValue(flag)
  const lower = value?.toLowerCase() ?? 'true'
  if (lower === 'true' || lower === 'false') return lower
  throw new DockerfileError(`expecting boolean value for flag ${flag}, not: ${value}`)
}

function missingValue(flag: string): never {
  throw new DockerfileError(`missing a value on flag: ${flag}`)
}
