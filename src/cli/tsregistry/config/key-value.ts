/** The value of a key, from a node of the YAML document. */
import { type Document, isAlias, isMap, isScalar, isSeq, type Node } from 'yaml'
import { OciError, printable } from '../../../oci/errors.ts'
import { parseDuration } from '../../flags/flag-values.ts'
import type { KeyType, ListType } from './key.ts'

/** Names to texts, as a key of type `map` has it. */
export type Texts = Readonly<Record<string, readonly string[]>>

/** `undefined` for what is left empty. Throws `invalid`. */
export function parseValue(
  node: Node | null,
  type: Exclude<KeyType, ListType>,
  document: Document,
): unknown {
  const resolved = isAlias(node) ? node.resolve(document) : node
  if (type === 'any') return resolved === undefined ? undefined : (resolved?.toJS(document) ?? null)
  if (resolved === null || resolved === undefined) return undefined
  if (isScalar(resolved) && resolved.value === null) return undefined
  if (type === 'strings') return textsOf(resolved)
  if (type === 'map') return mapOf(resolved)
  return scalarOf(textOf(resolved), type)
}

function scalarOf(
  text: string,
  type: Exclude<KeyType, 'any' | 'strings' | 'map' | ListType>,
): unknown {
  if (typeof type !== 'string') {
    if (type.includes(text)) return text
    throw expected(`one of ${type.join(', ')}`, text)
  }
  switch (type) {
    case 'string':
      return text
    case 'boolean':
      if (text === 'true' || text === 'false') return text === 'true'
      throw expected('true or false', text)
    case 'integer':
    case 'number':
      return numberOf(text, type)
    case 'duration':
      return parseDuration(text)
  }
}

function numberOf(text: string, type: 'integer' | 'number'): number {
  const pattern = type === 'integer' ? /^[0-9]{1,15}$/ : /^[0-9]{1,15}(\.[0-9]+)?$/
  if (pattern.test(text)) return Number(text)
  throw expected(type === 'integer' ? 'a whole number' : 'a number', text)
}

function textsOf(node: Node): readonly string[] {
  if (isSeq(node)) return node.items.map(item => textOf(item as Node))
  return [textOf(node)]
}

function mapOf(node: Node): Texts {
  if (!isMap(node)) throw new OciError('invalid', 'expected names with values')
  return Object.fromEntries(
    node.items.map(({ key, value }) => [textOf(key as Node), textsOf(value as Node)]),
  )
}

/** As it is written, so that `0.1` and `05` stay what they are. */
function textOf(node: Node): string {
  if (!isScalar(node)) throw new OciError('invalid', 'expected a single value')
  return node.source ?? String(node.value)
}

function expected(what: string, text: string): OciError {
  return new OciError('invalid', `expected ${what}, got "${printable(text, 80)}"`)
}
