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
