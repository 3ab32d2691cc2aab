/** Values of the runtime specification that other documents do not have. */

import { OciError, printable } from '../../oci/errors.ts'
import { asString, type JsonNode, member, mismatch, optional } from '../../oci/json.ts'

export function asInteger(node: JsonNode): number {
  if (!Number.isSafeInteger(node.value)) throw mismatch(node, 'a whole number')
  return node.value as number
}

/** The largest numbers of 64 bits, signed or not, stand for no limit; a double only comes near. */
export function asLimit(node: JsonNode): number | 'unlimited' {
  const { value } = node
  if (typeof value === 'number' && value >= 2 ** 63 - 1) return 'unlimited'
  const limit = asInteger(node)
  if (limit === -1) return 'unlimited'
  if (limit < 0) throw mismatch(node, 'a whole number ≥ 0')
  return limit
}

export function asIdentifier(node: JsonNode): number {
  const id = asInteger(node)
  if (id < 0 || id > 0xffff_fffe) throw mismatch(node, 'an id from 0 to 4294967294')
  return id
}

/** Texts become paths and arguments of the system, which end at a NUL. */
export function asText(node: JsonNode): string {
  const text = asString(node)
  if (text.includes('\0')) throw mismatch(node, 'a string without NUL')
  return text
}

export function asAbsolutePath(node: JsonNode): string {
  const path = asText(node)
  if (!path.startsWith('/')) throw mismatch(node, 'an absolute path')
  return path
}

export function asMember<T extends string>(node: JsonNode, names: readonly T[]): T {
  const text = asString(node)
  const found = names.find(name => name === text)
  if (found === undefined) throw mismatch(node, `one of ${names.join(', ')}`)
  return found
}

/** Throws `unsupported`, naming the field, when the document has it. */
export function refuse(node: JsonNode, key: string, why?: string): void {
  const { value, path, document } = member(node, key)
  if (value === undefined || value === null || isEmpty(value)) return
  throw new OciError(
    'unsupported',
    `Cannot run the ${document}: ${printable(path)} is not supported`,
    why === undefined ? {} : { hint: why },
  )
}

function isEmpty(value: unknown): boolean {
  return value === '' || (Array.isArray(value) && value.length === 0)
}

/** Go leaves empty lists out, or writes `null`. */
export function listOf<T>(
  node: JsonNode,
  parse: (node: JsonNode) => readonly JsonNode[],
  item: (node: JsonNode) => T,
): T[] {
  return (optional(node, parse) ?? []).map(item)
}
