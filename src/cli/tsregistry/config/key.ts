/** A row of the table of keys (`keys.ts`). */
import type { ServeFlag } from '../serve-flags.ts'

export type KeyType =
  | 'string'
  | 'boolean'
  | 'integer'
  | 'number'
  /** Go's form, `90s`, or a number of nanoseconds, which nobody means: refused. */
  | 'duration'
  | 'strings'
  /** Names to a text or to a list of texts. */
  | 'map'
  /** Anything: it is not looked into. */
  | 'any'
  | readonly string[]
  | ListType

/** A list of things that have keys of their own. */
export interface ListType {
  readonly list: readonly Member[]
}

/** A key of each thing in a list. */
export interface Member {
  /** `url`, or `ignore.actions` for one in a section. */
  readonly name: string
  readonly type: Exclude<KeyType, 'any' | ListType>
  readonly default?: string | number | boolean
  readonly isRequired?: true
  readonly help: string
}

export function isList(type: KeyType): type is ListType {
  return typeof type === 'object' && 'list' in type
}

interface KeyBase {
  /** Names joined by dots; `*` is a name that the user chooses. */
  readonly path: string
  readonly type: KeyType
  /** One line, no final period. */
  readonly help: string
}

export type Key = KeyBase &
  (
    | {
        readonly use: 'taken'
        /** The flag of `tsregistry serve` that it is another way to give. */
        readonly flag?: ServeFlag
        readonly default?: string | number | boolean
        /** Whether SIGHUP takes a new value. */
        readonly reload?: true
      }
    /** It changes nothing here, for the reason that `help` gives. */
    | { readonly use: 'accepted' }
    /** It cannot be had; values that ask for nothing are let through. */
    | { readonly use: 'refused'; readonly unless?: readonly unknown[] }
  )

/** A key that is taken, has no default, and that no flag is another way to give. */
export function own(path: string, type: KeyType, help: string): Extract<Key, { use: 'taken' }> {
  return { path, type, use: 'taken', help }
}
