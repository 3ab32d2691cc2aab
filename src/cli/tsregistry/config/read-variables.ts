/** `REGISTRY_*`: the keys of `config.yml` as variables, as distribution has them. */
import { type Document, type Node, parseDocument } from 'yaml'
import { OciError } from '../../../oci/errors.ts'
import { suggest } from '../../../oci/suggest.ts'
import type { Variables } from '../../environment.ts'
import { isList, type Key } from './key.ts'
import { parseKey } from './key-list.ts'
import { keys } from './keys.ts'
import { checked, type Setting, unusable } from './read-config.ts'

export interface ReadVariables {
  readonly settings: readonly Setting[]
  /** `REGISTRY_STORAGE`: which of the storages is meant. */
  readonly storage: 'filesystem' | 's3' | undefined
  /** Variables that mean nothing here: another program's, or a slip of the pen. */
  readonly unknown: readonly string[]
}

/** Podman's own, the one that names the file, and those that Kubernetes makes for a service. */
const foreign = /^REGISTRY_(AUTH_FILE|CONFIGURATION_PATH|PORT(_.*)?|SERVICE_.*)$/

export function variableOf({ path }: Pick<Key, 'path'>): string {
  return `REGISTRY_${path.toUpperCase().replaceAll('.', '_')}`
}

/** Throws `invalid` with every mistake on a line of its own. */
export function readVariables(variables: Variables): ReadVariables {
  const settings: Setting[] = []
  const unknown: string[] = []
  const problems: string[] = []
  for (const [name, text] of Object.entries(variables).toSorted(byName)) {
    if (!name.startsWith('REGISTRY_') || foreign.test(name) || text === undefined) continue
    const key = keyOf(name)
    if (key === undefined) {
      if (!namesSection(name, text)) unknown.push(explainUnknown(name))
      continue
    }
    try {
      settings.push(checked({ key, value: read(key, text), where: name }))
    } catch (error) {
      if (!(error instanceof OciError)) throw error
      problems.push(`${name}: ${error.message}`)
    }
  }
  if (problems.length > 0) throw unusable(problems)
  return { settings: joinLists(settings), storage: storageFrom(variables), unknown }
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1
}

/** The key, the list whose element it is, or what is not looked into and has it somewhere inside. */
function keyOf(name: string): Key | undefined {
  return (
    keys.find(key => variableOf(key) === name) ??
    keys.find(
      key =>
        (key.type === 'any' && name.startsWith(`${variableOf(key)}_`)) ||
        (key.type === 'strings' && name.replace(/_[0-9]+$/, '') === variableOf(key)),
    )
  )
}

function read(key: Key, text: string): unknown {
  if (key.type === 'any') return text
  const isYaml =
    isList(key.type) || key.type === 'map' || (key.type === 'strings' && text.startsWith('['))
  const document: Document = parseDocument(isYaml ? text : JSON.stringify(text))
  if (document.errors.length > 0) throw new OciError('invalid', 'expected YAML')
  // Quoted, so that no text becomes another: its source is itself.
  return parseKey(document.contents as Node | null, key.type, document)
}

/** `REGISTRY_HTTP_TLS_CLIENTCAS_0` and `_1` are one list. */
function joinLists(settings: readonly Setting[]): readonly Setting[] {
  const joined = new Map<Key, Setting>()
  for (const setting of settings) {
    const before = joined.get(setting.key)
    const isList = setting.key.type === 'strings' && before !== undefined
    const value = isList
      ? [...(before.value as readonly string[]), ...(setting.value as readonly string[])]
      : setting.value
    joined.set(setting.key, { ...setting, value })
  }
  return [...joined.values()]
}

/** `REGISTRY_AUTH=htpasswd` says which section is meant, as the next variables do anyway. */
function namesSection(name: string, text: string): boolean {
  const path = `${name.slice('REGISTRY_'.length).toLowerCase().replaceAll('_', '.')}.${text}`
  return keys.some(key => key.path === path || key.path.startsWith(`${path}.`))
}

function storageFrom({ REGISTRY_STORAGE: name }: Variables): ReadVariables['storage'] {
  return name === 'filesystem' || name === 's3' ? name : undefined
}

function explainUnknown(name: string): string {
  const meant = suggest(
    name,
    keys.map(variableOf).filter(known => !known.includes('*')),
  )
  return meant === undefined ? name : `${name} (did you mean ${meant}?)`
}
