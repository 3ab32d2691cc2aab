/** `--filter KEY=VALUE`, as docker's lists take it: one of the values of each key must fit. */
import { printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

/** By key: whether a thing fits a value. Throws a usage error for a value that can be none. */
export type FilterTable<T> = Readonly<Record<string, (thing: T, value: string) => boolean>>

/** Labels are narrowed down by each: docker's rule, as for `label` of all its lists. */
const allMustFit = new Set(['label', 'label!'])

/** Throws a usage error that names the keys there are. */
export function filterOf<T>(
  words: readonly string[],
  table: FilterTable<T>,
): (thing: T) => boolean {
  const wanted = new Map<string, string[]>()
  for (const word of words) {
    const [, key = '', value] = /^([^=]*?)=(.*)$/s.exec(word) ?? []
    if (value === undefined || !Object.hasOwn(table, key)) {
      throw usageError(
        `Cannot filter by "${printable(word)}": expected KEY=VALUE with one of the keys ${Object.keys(table).join(', ')}`,
      )
    }
    wanted.set(key, [...(wanted.get(key) ?? []), value])
  }
  return thing =>
    [...wanted].every(([key, values]) => {
      const fits = (value: string) => table[key]?.(thing, value) ?? false
      return allMustFit.has(key) ? values.every(fits) : values.some(fits)
    })
}
