/**
 * What the registry must know of a manifest's bytes, whatever kind it is: the type it will be served
 * as, what it refers to, and what a list of referrers says of it.
 *
 * Lenient where the spec is (unknown types, unknown members, empty lists) and strict where two
 * readers could see two documents in the same bytes (CVE-2021-41190): the members of both kinds, a
 * type that speaks against the one it is pushed as, a member given twice or in other letter case.
 * Spec: distribution-spec, Pushing Manifests; image-spec manifest.md, image-index.md.
 */
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
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
} from '../../oci/json.ts'
import { isForeignLayer, isIndex } from '../../oci/media-type.ts'
import { type ScannedObject, scanJson } from './json-scan.ts'
import { ResourceError } from './resource-error.ts'

export interface ReferredContent {
  readonly kind: 'blob' | 'manifest'
  readonly digest: Digest
  readonly size: number
}

export interface ManifestDocument {
  readonly mediaType: string
  /** What must be in the same repository for the manifest to be whole; each digest once. */
  readonly references: readonly ReferredContent[]
  readonly subject?: Digest
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** Deeper than any real manifest; shallow enough for every parser. */
const maxDepth = 64

/** More than any real index, few enough to look each of them up. */
const maxReferences = 10_000

/** Spec: RFC 6838 §4.2. */
const mediaTypePattern = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/

/** Members that decide what a document is: no second spelling of them is let through. */
const decisiveMembers: readonly string[] = [
  'schemaVersion',
  'mediaType',
  'artifactType',
  'config',
  'layers',
  'manifests',
  'blobs',
  'subject',
  'annotations',
]

const decisiveMembersOf: Readonly<Record<ScannedObject, readonly string[]>> = {
  document: decisiveMembers,
  descriptor: ['mediaType', 'digest', 'size', 'urls', 'artifactType', 'platform', 'annotations'],
}

/** Throws `invalid` of the manifest, with the JSON path. `contentType` is what it is pushed as. */
export function parseManifestDocument(bytes: Uint8Array, contentType: string): ManifestDocument {
  try {
    return documentFrom(bytes, contentType)
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw new ResourceError('invalid manifest', error.message, { cause: error })
  }
}

function documentFrom(bytes: Uint8Array, contentType: string): ManifestDocument {
  mustReadOneWay(bytes)
  const node = parseJson('manifest', bytes)
  const object = asObject(node)
  if (Object.hasOwn(object, 'signatures') || Object.hasOwn(object, 'fsLayers')) {
    throw invalid('schema version 1 is not supported')
  }
  optional(member(node, 'schemaVersion'), version => {
    if (typeof version.value !== 'number' || version.value < 2) throw mismatch(version, '2')
  })
  const mediaType = typeOf(node, contentType)
  const references = referencesFrom(node, mediaType)
  if (references.length > maxReferences) {
    throw invalid(`expected at most ${maxReferences} references, got ${references.length}`)
  }
  return {
    mediaType,
    references,
    ...field('subject', optional(member(node, 'subject'), subjectFrom)),
    ...field('artifactType', artifactTypeOf(node)),
    ...field('annotations', optional(member(node, 'annotations'), asStringMap)),
  }
}

/** Refuses what one JSON parser reads differently from another, and what exhausts one. */
function mustReadOneWay(bytes: Uint8Array): void {
  const depth = scanJson(bytes, maxDepth, mustSayOnce)
  if (depth > maxDepth) throw invalid(`expected at most ${maxDepth} levels of nesting`)
}

function mustSayOnce(kind: ScannedObject, members: readonly string[]): void {
  const seen = new Set<string>()
  for (const name of members) {
    const decisive = decisiveMembersOf[kind].find(known => folded(known) === folded(name))
    if (decisive === undefined) continue
    if (name !== decisive) throw invalid(`expected member "${decisive}", got "${printable(name)}"`)
    if (seen.has(name)) throw invalid(`member "${name}" is given twice`)
    seen.add(name)
  }
}

/** As Go's parser compares names, to which `ſize` is `size`. */
function folded(name: string): string {
  return name.toUpperCase().toLowerCase()
}

function typeOf(node: JsonNode, contentType: string): string {
  const object = asObject(node)
  const hasImage = Object.hasOwn(object, 'config') || Object.hasOwn(object, 'layers')
  const hasList = Object.hasOwn(object, 'manifests')
  if (hasImage && hasList) {
    throw invalid('it has both "manifests" and "config" or "layers", so it is neither')
  }
  const stated = optional(member(node, 'mediaType'), asString)
  if (stated !== undefined && contentType !== '' && stated !== contentType) {
    throw invalid(
      `mediaType: expected "${printable(contentType)}" as in Content-Type, got "${printable(stated)}"`,
    )
  }
  const mediaType = stated ?? contentType
  if (mediaType === '') throw invalid('neither Content-Type nor "mediaType" says what it is')
  // It goes back out as a header, wherever it came from.
  if (!mediaTypePattern.test(mediaType)) {
    throw invalid(`mediaType: expected a type like "a/b", got "${printable(mediaType)}"`)
  }
  if ((isIndex(mediaType) && hasImage) || (!isIndex(mediaType) && hasList)) {
    throw invalid(`it has not the members of "${printable(mediaType)}"`)
  }
  return mediaType
}

function referencesFrom(node: JsonNode, mediaType: string): ReferredContent[] {
  const found = new Map<Digest, ReferredContent>()
  const add = (kind: ReferredContent['kind'], from: JsonNode) => {
    const reference = referenceFrom(kind, from)
    if (reference !== undefined) found.set(reference.digest, reference)
  }
  if (isIndex(mediaType)) {
    for (const child of listOf(node, 'manifests')) add('manifest', child)
    return [...found.values()]
  }
  optional(member(node, 'config'), config => add('blob', config))
  for (const layer of [...listOf(node, 'layers'), ...listOf(node, 'blobs')]) add('blob', layer)
  return [...found.values()]
}

function listOf(node: JsonNode, name: string): readonly JsonNode[] {
  return optional(member(node, name), asArray) ?? []
}

/** `undefined` for content that is found elsewhere: it is never pushed here. */
function referenceFrom(kind: ReferredContent['kind'], node: JsonNode): ReferredContent | undefined {
  const mediaType = asString(member(node, 'mediaType'))
  const reference = { kind, digest: digestFrom(node), size: asSize(member(node, 'size')) }
  const urls = optional(member(node, 'urls'), asArray) ?? []
  return isForeignLayer(mediaType) || urls.length > 0 ? undefined : reference
}

function subjectFrom(node: JsonNode): Digest {
  asString(member(node, 'mediaType'))
  asSize(member(node, 'size'))
  return digestFrom(node)
}

function digestFrom(node: JsonNode): Digest {
  const digest = member(node, 'digest')
  try {
    return parseDigest(asString(digest))
  } catch (error) {
    if (error instanceof OciError) throw mismatch(digest, 'a digest')
    throw error
  }
}

/** The manifest's own, else the type of its config. An index without one has none. */
function artifactTypeOf(node: JsonNode): string | undefined {
  const own = optional(member(node, 'artifactType'), asString)
  if (own !== undefined && own !== '') return own
  return optional(member(node, 'config'), config => optional(member(config, 'mediaType'), asString))
}

function invalid(state: string): OciError {
  return new OciError('invalid', `Cannot parse manifest: ${state}`)
}
