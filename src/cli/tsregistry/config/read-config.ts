/** `config.yml` as settings: every key known, every value of its type, every mistake with its line. */
import { isAlias, isMap, isScalar, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import { OciError, printable } from '../../../oci/errors.ts'
import { field } from '../../../oci/json.ts'
import { suggest } from '../../../oci/suggest.ts'
import type { Key } from './key.ts'
import { parseKey } from './key-list.ts'
import { keys } from './keys.ts'

export interface Setting {
  readonly key: Key
  readonly value: unknown
  /** What the user chose where the key's path has `*`. */
  readonly name?: string
  /** `config.yml:12`, or the name of a variable. */
  readonly where: string
}

/** Throws `invalid` with every mistake, each on a line of its own: `config.yml:12: http.adr: …`. */
export function readConfig(file: string, text: string): readonly Setting[] {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (node: unknown) => `${file}:${lineOf(lines, node)}`
  const problems = document.errors.map(
    ({ message, pos }) => `${file}:${lines.linePos(pos[0]).line}: ${message}`,
  )
  if (problems.length > 0) throw unusable(problems)
  const settings: Setting[] = []
  const visit = (node: Node | null, above: Above) => {
    const section = isAlias(node) ? node.resolve(document) : node
    if (section === null || section === undefined || isEmpty(section)) return
    if (!isMap(section)) {
      problems.push(`${at(node)}: ${above.path || 'the file'}: expected keys with values`)
      return
    }
    for (const pair of section.items) read(pair as Pair<Node, Node | null>, above)
  }
  const read = (pair: Pair<Node, Node | null>, above: Above) => {
    const below = pathBelow(above, isScalar(pair.key) ? String(pair.key.value) : '')
    const { path, name } = below
    const key = keys.find(candidate => candidate.path === path)
    if (key === undefined) {
      if (isSection(path)) visit(pair.value, below)
      else problems.push(`${at(pair.key)}: ${unknownKey(path)}`)
      return
    }
    try {
      const value = parseKey(pair.value, key.type, document)
      const setting = { key, value, where: at(pair.key), ...field('name', name) }
      if (value !== undefined) settings.push(checked(setting))
    } catch (error) {
      if (!(error instanceof OciError)) throw error
      problems.push(`${at(pair.key)}: ${path}: ${error.message}`)
    }
  }
  visit(document.contents as Node | null, { path: '' })
  if (!settings.some(({ key }) => key.path === 'version')) {
    problems.push(`${file}:1: version: missing; write "version: 0.1"`)
  }
  if (problems.length > 0) throw unusable(problems)
  return settings
}

interface Above {
  readonly path: string
  /** See `Setting.name`. */
  readonly name?: string
}

function pathBelow(above: Above, name: string): Above {
  if (isSection(`${above.path}.*`)) return { path: `${above.path}.*`, name }
  return { ...above, path: above.path === '' ? name : `${above.path}.${name}` }
}

/** The key's path with what the user chose in it: no two settings have the same. */
export function idOf({ key, name }: Setting): string {
  return name === undefined ? key.path : key.path.replace('*', name)
}

/** Throws `invalid` for a key that cannot be had. */
export function checked(setting: Setting): Setting {
  const { key, value } = setting
  if (key.use !== 'refused' || key.unless?.includes(value) === true) return setting
  throw new OciError('invalid', `not supported: ${lowerFirst(key.help)}`)
}

/** What is said of a key that is none: with what it was probably meant to be. */
export function unknownKey(path: string): string {
  const name = path.slice(path.lastIndexOf('.') + 1)
  const above = path.slice(0, path.length - name.length)
  const siblings = keys.flatMap(key =>
    key.path.startsWith(above) ? [key.path.slice(above.length).split('.', 1)[0] ?? ''] : [],
  )
  const meant =
    suggest(name, new Set(siblings)) ??
    suggest(
      path,
      keys.map(key => key.path),
    )
  const shown = printable(path)
  if (meant === undefined) return `${shown}: unknown key`
  return `${shown}: unknown key; did you mean ${meant.includes('.') ? '' : above}${meant}?`
}

export function isSection(path: string): boolean {
  return keys.some(key => key.path.startsWith(`${path}.`))
}

/** All of them as one error: whoever mends a file wants to see them at once. */
export function unusable(problems: readonly string[]): OciError {
  return new OciError('invalid', `Cannot use the configuration:\n${problems.join('\n')}`)
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && node.value === null
}

function lineOf(lines: LineCounter, node: unknown): number {
  const range = (node as Partial<Node> | null)?.range
  return range === undefined || range === null ? 1 : lines.linePos(range[0]).line
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? `${text.charAt(0).toLowerCase()}${text.slice(1)}` : text
}
