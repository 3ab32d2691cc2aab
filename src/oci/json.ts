/**
 * The decoder that the document parsers share.
 *
 * A document from outside is bytes; a `JsonNode` walks the parsed value and throws `invalid` with
 * the path of the field that is wrong: `Cannot parse manifest: layers[2].size: expected …`.
 * Unknown fields are kept in the bytes and ignored here.
 */
import { OciError, printable } from './errors.ts'

export interface JsonNode {
  /** The document's kind, for messages: `manifest`, `index`, `image config`. */
  readonly document: string
  readonly path: string
  readonly value: unknown
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Parses bytes as UTF-8 JSON; `invalid` when they are not. */
export function parseJson(document: string, bytes: Uint8Array): JsonNode {
  try {
    return { document, path: '', value: JSON.parse(decoder.decode(bytes)) }
  } catch (cause) {
    throw new OciError('invalid', `Cannot parse ${document}: not valid UTF-8 JSON`, { cause })
  }
}

/** The member `key`, whose value may be `undefined`. `node` must be an object. */
export function member(node: JsonNode, key: string): JsonNode {
  const object = asObject(node)
  const path = node.path === '' ? key : `${node.path}.${key}`
  return {
    document: node.document,
    path,
    value: Object.hasOwn(object, key) ? object[key] : undefined,
  }
}

export function asObject(node: JsonNode): Readonly<Record<string, unknown>> {
  const { value } = node
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw mismatch(node, 'an object')
  }
  return value as Record<string, unknown>
}

export function asString(node: JsonNode): string {
  if (typeof node.value !== 'string') throw mismatch(node, 'a string')
  return node.value
}

export function asBoolean(node: JsonNode): boolean {
  if (typeof node.value !== 'boolean') throw mismatch(node, 'a boolean')
  return node.value
}

/** A whole number that a double holds exactly and that is not negative. */
export function asSize(node: JsonNode): number {
  if (!Number.isSafeInteger(node.value) || (node.value as number) < 0) {
    throw mismatch(node, 'a whole number ≥ 0')
  }
  return node.value as number
}

export function asArray(node: JsonNode): JsonNode[] {
  if (!Array.isArray(node.value)) throw mismatch(node, 'an array')
  return node.value.map((value: unknown, index) => ({
    document: node.document,
    path: `${node.path}[${index}]`,
    value,
  }))
}

/** The value itself, where all in it is text. */
export function asStringMap(node: JsonNode): Record<string, string> {
  const found = asObject(node)
  if (Object.values(found).every(value => typeof value === 'string')) {
    return found as Record<string, string>
  }
  const entries = Object.keys(asObject(node)).map(
    key => [key, asString(member(node, key))] as const,
  )
  return Object.fromEntries(entries)
}

/** Go's JSON writes an absent slice or map as `null`; both mean absent. */
export function optional<T>(node: JsonNode, parse: (node: JsonNode) => T): T | undefined {
  return node.value === undefined || node.value === null ? undefined : parse(node)
}

/** `{ [key]: value }`, or nothing when there is no value: for `exactOptionalPropertyTypes`. */
export function field<K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: T })
}

export function mismatch(node: JsonNode, expected: string): OciError {
  const where = node.path === '' ? '' : `${printable(node.path)}: `
  const got = printable(JSON.stringify(node.value) ?? 'nothing', 60)
  return new OciError(
    'invalid',
    `Cannot parse ${node.document}: ${where}expected ${expected}, got ${got}`,
  )
}
