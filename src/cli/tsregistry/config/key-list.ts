/** A list of things with keys of their own: `notifications.endpoints`. */
import { type Document, isAlias, isMap, isScalar, isSeq, type Node } from 'yaml'
import { OciError, printable } from '../../../oci/errors.ts'
import { suggest } from '../../../oci/suggest.ts'
import { parseDuration } from '../../flags/flag-values.ts'
import { isList, type KeyType, type ListType, type Member } from './key.ts'
import { parseValue } from './key-value.ts'

/** The members by their names, those with a default always. */
export type ListEntry = Readonly<Record<string, unknown>>

/** As {@link parseValue}, and lists. */
export function parseKey(node: Node | null, type: KeyType, document: Document): unknown {
  if (!isList(type)) return parseValue(node, type, document)
  const list = isAlias(node) ? node.resolve(document) : node
  return list === null || list === undefined ? undefined : parseList(list, type, document)
}

/** Throws `invalid` that begins with the place of the mistake: `[1].url: …`. */
function parseList(node: Node, type: ListType, document: Document): ListEntry[] {
  if (isScalar(node) && node.value === null) return []
  if (!isSeq(node)) throw new OciError('invalid', 'expected a list')
  return node.items.map((item, index) => {
    const found = new Map<string, unknown>()
    readMembers(item as Node, { above: '', place: `[${index}]`, type, document, found })
    return completed(found, type, `[${index}]`)
  })
}

interface Reading {
  /** The section that is read, with a dot at its end. */
  readonly above: string
  readonly place: string
  readonly type: ListType
  readonly document: Document
  readonly found: Map<string, unknown>
}

function readMembers(node: Node, reading: Reading): void {
  const { above, place, type, document, found } = reading
  if (isScalar(node) && node.value === null) return
  if (!isMap(node)) throw new OciError('invalid', `${place}: expected keys with values`)
  for (const { key, value } of node.items) {
    const name = above + (isScalar(key) ? String(key.value) : '')
    const member = type.list.find(each => each.name === name)
    if (member !== undefined) {
      found.set(name, memberValue(value as Node | null, member, { place, document }))
    } else if (type.list.some(each => each.name.startsWith(`${name}.`))) {
      readMembers(value as Node, { ...reading, above: `${name}.` })
    } else {
      throw new OciError('invalid', `${place}.${unknownMember(name, type)}`)
    }
  }
}

function memberValue(
  node: Node | null,
  { name, type }: Member,
  { place, document }: Pick<Reading, 'place' | 'document'>,
): unknown {
  try {
    return parseValue(node, type, document)
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw new OciError('invalid', `${place}.${name}: ${error.message}`)
  }
}

function completed(found: ReadonlyMap<string, unknown>, type: ListType, place: string): ListEntry {
  const entries = type.list.flatMap(member => {
    const value = found.get(member.name) ?? defaultOf(member)
    if (value === undefined && member.isRequired === true) {
      throw new OciError('invalid', `${place}.${member.name}: missing`)
    }
    return value === undefined ? [] : [[member.name, value] as const]
  })
  return Object.fromEntries(entries)
}

/** Defaults are written as in the file: `1s` is a duration. */
function defaultOf({ type, default: text }: Member): unknown {
  return type === 'duration' && typeof text === 'string' ? parseDuration(text) : text
}

function unknownMember(name: string, { list }: ListType): string {
  const meant = suggest(
    name,
    list.map(member => member.name),
  )
  const shown = printable(name, 80)
  return meant === undefined
    ? `${shown}: unknown key`
    : `${shown}: unknown key; did you mean ${meant}?`
}
