/**
 * Manifest: one platform's image. Index: a list of manifests.
 *
 * The same bytes must never be read as both (CVE-2021-41190): a document that has the members of
 * both kinds, or whose `mediaType` speaks against the type it was served as, is refused.
 * Spec: image-spec manifest.md, image-index.md.
 */
import { type Descriptor, type Document, descriptorFrom } from './descriptor.ts'
import { digestOf } from './digest.ts'
import { OciError, printable } from './errors.ts'
import {
  asArray,
  asObject,
  asSize,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from './json.ts'
import { isIndex, mediaTypes } from './media-type.ts'
import { formatPlatform, type Platform, platformDistance } from './platform.ts'

export interface Manifest {
  readonly kind: 'manifest'
  readonly mediaType: string
  readonly artifactType?: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly subject?: Descriptor
  readonly annotations?: Readonly<Record<string, string>>
}

export interface Index {
  readonly kind: 'index'
  readonly mediaType: string
  readonly artifactType?: string
  readonly manifests: readonly Descriptor[]
  readonly subject?: Descriptor
  readonly annotations?: Readonly<Record<string, string>>
}

/**
 * Parses a manifest or index that was served or described as `mediaType` (empty: not said).
 * Throws `invalid` with the JSON path.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): Document<Manifest | Index> {
  const node = parseJson('manifest', bytes)
  const object = asObject(node)
  const hasImage = Object.hasOwn(object, 'config') || Object.hasOwn(object, 'layers')
  const hasList = Object.hasOwn(object, 'manifests')
  if (hasImage && hasList) {
    throw new OciError(
      'invalid',
      'Cannot parse manifest: it has both "manifests" and "config" or "layers", so it is neither a manifest nor an index',
    )
  }
  if (asSize(member(node, 'schemaVersion')) !== 2) {
    throw mismatch(member(node, 'schemaVersion'), '2')
  }
  const stated = optional(member(node, 'mediaType'), asString)
  if (stated !== undefined && mediaType !== '' && stated !== mediaType) {
    throw new OciError(
      'invalid',
      `Cannot parse manifest: mediaType: expected "${printable(mediaType)}" as served, got "${printable(stated)}"`,
    )
  }
  const type = stated ?? (mediaType === '' ? guessType(hasList) : mediaType)
  if (isIndex(type) !== hasList) {
    throw new OciError(
      'invalid',
      `Cannot parse manifest: expected the members of "${printable(type)}"`,
    )
  }
  const value = hasList ? indexFrom(node, type) : manifestFrom(node, type)
  return { bytes, digest: digestOf(bytes), value }
}

function guessType(hasList: boolean): string {
  return hasList ? mediaTypes.index : mediaTypes.manifest
}

function manifestFrom(node: JsonNode, mediaType: string): Manifest {
  return {
    kind: 'manifest',
    mediaType,
    config: descriptorFrom(member(node, 'config')),
    layers: layersFrom(member(node, 'layers')),
    ...commonMembers(node),
  }
}

/** BuildKit writes null for an image of no layers; a manifest without the member is none. */
function layersFrom(node: JsonNode): Descriptor[] {
  return node.value === null ? [] : asArray(node).map(descriptorFrom)
}

function indexFrom(node: JsonNode, mediaType: string): Index {
  return {
    kind: 'index',
    mediaType,
    manifests: optional(member(node, 'manifests'), asArray)?.map(descriptorFrom) ?? [],
    ...commonMembers(node),
  }
}

function commonMembers(node: JsonNode) {
  return {
    ...field('artifactType', optional(member(node, 'artifactType'), asString)),
    ...field('subject', optional(member(node, 'subject'), descriptorFrom)),
    ...field('annotations', optional(member(node, 'annotations'), asStringMap)),
  }
}

/**
 * The manifest of an index that suits `platform` best, the first of equals.
 * Throws `not-found`, naming the platforms that there are.
 */
export function selectManifest(index: Index, platform: Platform): Descriptor {
  let best: { descriptor: Descriptor; distance: number } | undefined
  for (const descriptor of index.manifests) {
    const distance =
      descriptor.platform === undefined
        ? undefined
        : platformDistance(platform, descriptor.platform)
    if (distance !== undefined && (best === undefined || distance < best.distance)) {
      best = { descriptor, distance }
    }
  }
  if (best !== undefined) return best.descriptor
  const offered = index.manifests
    .flatMap(({ platform: has }) => (has === undefined ? [] : [formatPlatform(has)]))
    .filter(name => name !== 'unknown/unknown')
  throw new OciError(
    'not-found',
    `Cannot find platform ${formatPlatform(platform)} in the index: it has ${printable(offered.join(', ')) || 'none'}`,
  )
}
