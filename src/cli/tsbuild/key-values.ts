/** Values of flags that hold several settings: `id=token,src=file`, `type=oci,dest=out.tar`. */
import { suggest } from '../../oci/suggest.ts'
import { usageError } from '../cli-error.ts'

/** One CSV record of `key=value` fields; a field may be quoted to hold commas. */
export function parseSettings<Key extends string>(
  flag: string,
  text: string,
  keys: readonly Key[],
): ReadonlyMap<Key, string> {
  return settingsFrom(splitFields(text), keys, flagNamed(flag, text))
}

/** A flag as errors name it, which end up in logs: without the keys to a bucket that it may hold. */
export function flagNamed(flag: string, text: string): string {
  const fields = splitFields(text)
  const shown = fields.map(withoutSecret)
  return `flag --${flag} "${shown.some((one, i) => one !== fields[i]) ? shown.join(',') : text}"`
}

/** By a part of the name: a misspelt setting is as secret. */
function withoutSecret(fieldText: string): string {
  return fieldText.replace(/^([^=]*(?:secret|token|password)[^=]*=).+$/is, '$1***')
}

/** As {@link parseSettings}, of fields that were split before; `subject` is what errors are about. */
export function settingsFrom<Key extends string>(
  fields: readonly string[],
  keys: readonly Key[],
  subject: string,
): ReadonlyMap<Key, string> {
  const settings = new Map<Key, string>()
  for (const fieldText of fields) {
    const equals = fieldText.indexOf('=')
    const name = equals === -1 ? fieldText : fieldText.slice(0, equals)
    const key = keys.find(known => known === name)
    if (key === undefined || equals === -1) {
      const meant = suggest(name, keys)
      throw usageError(
        `Cannot use ${subject}: expected ${keys.map(known => `${known}=…`).join(', ')}, got "${withoutSecret(fieldText)}"`,
        meant === undefined ? undefined : `Did you mean ${meant}=?`,
      )
    }
    settings.set(key, fieldText.slice(equals + 1))
  }
  return settings
}

/** RFC 4180, one line: `"a,b",c` is two fields; `""` inside quotes is a quote. */
export function splitFields(text: string): string[] {
  const fields = text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)
  return [...fields].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '')
}

/** `NAME=VALUE`; without `=`, the variable of the environment, or nothing. */
export function parseAssignments(
  texts: readonly string[],
  lookup: (name: string) => string | undefined,
): Map<string, string> {
  const values = new Map<string, string>()
  for (const text of texts) {
    const equals = text.indexOf('=')
    const name = equals === -1 ? text : text.slice(0, equals)
    const value = equals === -1 ? lookup(name) : text.slice(equals + 1)
    if (value !== undefined) values.set(name, value)
  }
  return values
}
