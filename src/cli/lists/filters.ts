/** `--filter KEY=VALUE`, as docker's lists take it: one of the values of each key must fit. */
import { printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

/**
 * By key: what a value asks of a thing. Throws a usage error for a value that can be none, also
 * where there is no thing to ask.
 */
export type FilterTable<T> = Readonly<Record<string, (value: string) => (thing: T) => boolean>>

/** Labels are narrowed down by each: docker's rule, as for `label` of all its lists. */
const allMustFit = new Set(['label', 'label!'])

/** Throws a usage error that names the keys there are, and what the table throws. */
export function filterOf<T>(
  words: readonly string[],
  table: FilterTable<T>,
): (thing: T) => boolean {
  const wanted = new Map<string, ((thing: T) => boolean)[]>()
  for (const word of words) {
    const [, key = '', value] = /^([^=]*?)=(.*)$/s.exec(word) ?? []
    const filter = Object.hasOwn(table, key) ? table[key] : undefined
    if (value === undefined || filter === undefined) {
      throw usageError(
        `Cannot filter by "${printable(word)}": expected KEY=VALUE with one of the keys ${Object.keys(table).join(', ')}`,
      )
    }
    wanted.set(key, [...(wanted.get(key) ?? []), filter(value)])
  }
  return thing =>
    [...wanted].every(([key, filters]) =>
      allMustFit.has(key) ? filters.every(fits => fits(thing)) : filters.some(fits => fits(thing)),
    )
}

type Labels = Readonly<Record<string, string>>

/** `label` and `label!`: a key alone, or with its value. */
export function labelFilters<T>(labelsOf: (thing: T) => Labels | undefined): {
  readonly [key in 'label' | 'label!']: (value: string) => (thing: T) => boolean
} {
  return {
    label: value => thing => hasLabel(labelsOf(thing), value),
    'label!': value => thing => !hasLabel(labelsOf(thing), value),
  }
}

function hasLabel(labels: Labels = {}, wanted: string): boolean {
  const equals = wanted.indexOf('=')
  if (equals === -1) return Object.hasOwn(labels, wanted)
  const key = wanted.slice(0, equals)
  return Object.hasOwn(labels, key) && labels[key] === wanted.slice(equals + 1)
}

/** The value of `key` as a boolean. Throws a usage error. */
export function truthFrom(key: string, value: string): boolean {
  if (value === '1' || value === 'true') return true
  if (value === '0' || value === 'false') return false
  throw usageError(`Cannot filter by ${key} "${printable(value)}": expected true or false`)
}
