/**
 * Descriptor: a typed pointer to bytes. Spec: image-spec descriptor.md.
 */
import { type Digest, parseDigest } from './digest.ts'
import { OciError } from './errors.ts'
import {
  asArray,
  asSize,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
} from './json.ts'
import { type Platform, platformFrom } from './platform.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes of the blob. */
  readonly size: number
  readonly urls?: readonly string[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Platform
  readonly artifactType?: string
}

/** A parsed document together with the exact bytes that its digest names. */
export interface Document<T> {
  readonly bytes: Uint8Array
  readonly digest: Digest
  readonly value: T
}

export function descriptorFrom(node: JsonNode): Descriptor {
  return {
    mediaType: asString(member(node, 'mediaType')),
    digest: digestFrom(member(node, 'digest')),
    size: asSize(member(node, 'size')),
    ...field(
      'urls',
      optional(member(node, 'urls'), urls => asArray(urls).map(asString)),
    ),
    ...field('annotations', optional(member(node, 'annotations'), asStringMap)),
    ...field('platform', optional(member(node, 'platform'), platformFrom)),
    ...field('artifactType', optional(member(node, 'artifactType'), asString)),
  }
}

function digestFrom(node: JsonNode): Digest {
  const text = asString(node)
  try {
    return parseDigest(text)
  } catch (error) {
    if (error instanceof OciError) throw mismatch(node, 'a digest')
    throw error
  }
}
