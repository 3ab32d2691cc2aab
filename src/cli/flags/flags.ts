/**
 * Flags as a table: one declaration gives the parser, the types of the values and the help.
 *
 *   const flags = {
 *     tag: { kind: 'strings', short: 't', value: 'NAME', help: 'Name and tag of the image' },
 *     push: { kind: 'boolean', help: 'Push the image' },
 *   } as const satisfies FlagTable
 *   parseFlags({ flags, … }, ['-tb:2', '--push=false', '.']).values.tag   // readonly string[]
 *
 * Values of environment variables stand in for flags that are not given; an empty one does not.
 */
import type { OciError } from '../../oci/errors.ts'
import { suggest } from '../../oci/suggest.ts'
import { usageError } from '../cli-error.ts'
import {
  parseAs,
  parseBoolean,
  parseChoice,
  parseDuration,
  parseInteger,
  parseNumber,
  parseSize,
} from './flag-values.ts'
import { type FlagWord, splitWords } from './flag-words.ts'

interface FlagBase {
  /** One line, no final period. */
  readonly help: string
  readonly short?: string
  /** Other spellings, not shown in the help. */
  readonly aliases?: readonly string[]
  /** The environment variable that gives the value when the flag does not. */
  readonly env?: string
  /** Heading in the help; the first table entries without one come under "Flags". */
  readonly group?: string
  /** Accepted, not shown in the help. */
  readonly hidden?: true
}

interface ValueFlag<Kind extends string, Value> extends FlagBase {
  readonly kind: Kind
  /** The value's name in the help: `NAME`. */
  readonly value: string
  readonly default?: Value
}

export type Flag =
  | (FlagBase & { readonly kind: 'boolean'; readonly default?: boolean })
  | ValueFlag<'string', string>
  /** Repeatable; every value is kept whole: commas do not split it. */
  | ValueFlag<'strings', never>
  | ValueFlag<'number', number>
  | ValueFlag<'integer', number>
  /** Bytes. */
  | ValueFlag<'size', number>
  /** Milliseconds. */
  | ValueFlag<'duration', number>
  | (FlagBase & {
      readonly kind: 'choice'
      readonly choices: readonly string[]
      readonly default?: string
      /**
       * What it means alone, as a flag that was once a boolean: it never takes the next word, and
       * `=true` means the same, `=false` the default.
       */
      readonly alone?: string
    })

export type FlagTable = Readonly<Record<string, Flag>>

type ScalarOf<F extends Flag> = F extends { kind: 'choice'; choices: readonly (infer C)[] }
  ? C
  : F extends { kind: 'string' }
    ? string
    : number

export type FlagValue<F extends Flag> = F extends { kind: 'boolean' }
  ? boolean
  : F extends { kind: 'strings' }
    ? readonly string[]
    : F extends { default: string | number }
      ? ScalarOf<F>
      : ScalarOf<F> | undefined

export type FlagValues<T extends FlagTable> = { readonly [N in keyof T]: FlagValue<T[N]> }

/** A flag of docker's that we know and do not have: refused by name, with a sentence saying so. */
export interface UnsupportedFlag {
  readonly short?: string
  /** Why, or what to use instead; a sentence without its period. */
  readonly reason?: string
}

export interface FlagGrammar<T extends FlagTable> {
  readonly flags: T
  readonly unsupported?: Readonly<Record<string, UnsupportedFlag>>
  readonly positionals?: 'interspersed' | 'first-ends-flags'
}

export interface ParsedFlags<T extends FlagTable> {
  readonly values: FlagValues<T>
  readonly positionals: readonly string[]
  /** Names of the flags that the command line or the environment gave. */
  readonly given: ReadonlySet<string>
}

export type EnvironmentLookup = (name: string) => string | undefined

/** Throws a usage error that names the flag as it was typed. */
export function parseFlags<T extends FlagTable>(
  grammar: FlagGrammar<T>,
  args: readonly string[],
  environment: EnvironmentLookup = () => undefined,
): ParsedFlags<T> {
  const names = spellings(grammar.flags)
  const words = splitWords(args, {
    resolve: typed => {
      const name = names.get(typed)
      const flag = name === undefined ? undefined : grammar.flags[name]
      if (name === undefined || flag === undefined) throw unknownFlag(typed, names, grammar)
      return { name, takesValue: flag.kind !== 'boolean' && !mayStandAlone(flag) }
    },
    positionals: grammar.positionals ?? 'interspersed',
  })
  const given = new Map<string, FlagWord[]>()
  for (const word of words.flags) given.set(word.name, [...(given.get(word.name) ?? []), word])
  for (const word of environmentWords(grammar.flags, environment)) {
    if (!given.has(word.name)) given.set(word.name, [word])
  }
  const values = Object.entries(grammar.flags).map(
    ([name, flag]) => [name, flagValue(flag, given.get(name) ?? [])] as const,
  )
  return {
    values: Object.fromEntries(values) as FlagValues<T>,
    positionals: words.positionals,
    given: new Set(given.keys()),
  }
}

/** Every accepted spelling, with its dashes, to the flag's name. */
function spellings(flags: FlagTable): Map<string, string> {
  const names = new Map<string, string>()
  for (const [name, flag] of Object.entries(flags)) {
    names.set(`--${name}`, name)
    if (flag.short !== undefined) names.set(`-${flag.short}`, name)
    for (const alias of flag.aliases ?? []) names.set(`--${alias}`, name)
  }
  return names
}

function unknownFlag(
  typed: string,
  names: ReadonlyMap<string, string>,
  { unsupported = {} }: FlagGrammar<FlagTable>,
): OciError {
  const known = Object.entries(unsupported).find(
    ([name, { short }]) => typed === `--${name}` || typed === `-${short}`,
  )
  if (known !== undefined) {
    const [name, { reason }] = known
    return usageError(`Flag --${name} is not supported yet`, reason)
  }
  const meant = typed.startsWith('--') ? suggest(typed, names.keys()) : undefined
  return usageError(
    `Unknown flag ${JSON.stringify(typed)}`,
    meant === undefined ? undefined : `Did you mean ${meant}?`,
  )
}

function environmentWords(flags: FlagTable, environment: EnvironmentLookup): FlagWord[] {
  return Object.entries(flags).flatMap(([name, flag]) => {
    const value = flag.env === undefined ? undefined : environment(flag.env)
    if (value === undefined || value === '') return []
    return [{ name, typed: `environment variable ${flag.env}`, value }]
  })
}

function flagValue(flag: Flag, words: readonly FlagWord[]): unknown {
  if (flag.kind === 'strings') return words.map(word => word.value ?? '')
  const last = words.at(-1)
  if (last === undefined) return flag.kind === 'boolean' ? (flag.default ?? false) : flag.default
  if (flag.kind === 'boolean' && last.value === undefined) return true
  if (mayStandAlone(flag) && last.value === undefined) return flag.alone
  const subject = last.typed.startsWith('-') ? `flag ${last.typed}` : last.typed
  return parseAs(subject, () => scalarOf(flag, last.value ?? ''))
}

function scalarOf(flag: Exclude<Flag, { kind: 'strings' }>, text: string): unknown {
  switch (flag.kind) {
    case 'boolean':
      return parseBoolean(text)
    case 'string':
      return text
    case 'number':
      return parseNumber(text)
    case 'integer':
      return parseInteger(text)
    case 'size':
      return parseSize(text)
    case 'duration':
      return parseDuration(text)
    case 'choice':
      return parseChoice(spelledOut(flag, text), flag.choices)
  }
}

function mayStandAlone(flag: Flag): flag is Extract<Flag, { kind: 'choice' }> {
  return flag.kind === 'choice' && flag.alone !== undefined
}

function spelledOut(flag: Extract<Flag, { kind: 'choice' }>, text: string): string {
  if (flag.alone === undefined || !/^(true|false)$/i.test(text)) return text
  return text.toLowerCase() === 'true' ? flag.alone : (flag.default ?? text)
}
