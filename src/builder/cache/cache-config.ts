/**
 * The document of an exported cache: which step gave which layers.
 *
 *   { "layers":  [{ "blob": …, "parent": -1, "annotations": { mediaType, diffID, size } }, …],
 *     "records": [{ "digest": KEY, "layers": [{ "layer": 0, "createdAt": … }] }, …],
 *     "tsbuild": { "memo": { HEX: { part: value } }, "mounts": [{ id, … }] } }
 *
 * The form is BuildKit's, which registries and tools know; the keys are ours, so neither builder
 * mistakes the other's results for its own. `parent` is an index into `layers`. Whoever wrote a
 * document may have been hostile: it is bounded, and a record that makes no sense is absent.
 *
 * Spec: moby/buildkit cache/remotecache/v1/doc.go.
 */
import type { StackedLayer } from '../../layerfs/image/unpack.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import {
  type ChainId,
  chainIds,
  digestOf,
  hexOf,
  parseDiffId,
  parseDigest,
} from '../../oci/digest.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import {
  asArray,
  asObject,
  asSize,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  optional,
  parseJson,
} from '../../oci/json.ts'
import type { CacheKey, KeyParts } from '../solve/graph.ts'
import type { SavedMount } from './saved-mount.ts'

export const cacheConfigType = 'application/vnd.buildkit.cacheconfig.v0'

/** What a reader takes into memory. */
export const maxConfigSize = 32 * 1024 * 1024

const maxEntries = 100_000

/** Overlayfs takes no more, so no image has. */
const maxStack = 500

export interface CachedResult {
  readonly key: CacheKey
  /** Lowest first. */
  readonly layers: readonly StackedLayer[]
  readonly created?: string
}

/** Names a question of the memo (`steps/step-world.ts`) in an exported cache. */
export function memoHex(key: string): string {
  return hexOf(digestOf(key))
}

/** What one build made, for another to use. */
export interface CacheContents {
  readonly results: readonly CachedResult[]
  /** Digests of what steps read of others' results, by the hex of their question. */
  readonly memo: ReadonlyMap<string, KeyParts>
  readonly mounts: readonly SavedMount[]
}

/** What an imported cache knows. */
export interface CacheIndex {
  find(key: CacheKey): Omit<CachedResult, 'key'> | undefined
  readonly memo: ReadonlyMap<string, KeyParts>
  readonly mounts: readonly SavedMount[]
}

/** The same contents give the same bytes, in whatever order they come. */
export function encodeCacheConfig({ results, memo, mounts }: CacheContents): Uint8Array {
  const layers = new LayerTable()
  const records = sortedBy(results, ({ key }) => key).map(({ key, layers: stack, created }) => ({
    digest: key,
    layers: [{ layer: layers.add(stack), ...field('createdAt', created) }],
  }))
  const own = {
    ...(memo.size === 0 ? {} : { memo: Object.fromEntries(sortedBy([...memo], ([name]) => name)) }),
    ...(mounts.length === 0 ? {} : { mounts: sortedBy(mounts, ({ id }) => id).map(mountRow) }),
  }
  const document = { layers: layers.rows, records }
  const isEmpty = Object.keys(own).length === 0
  return Buffer.from(JSON.stringify(isEmpty ? document : { ...document, tsbuild: own }))
}

/** Records alone, for `layers` that stand elsewhere: those of the image that carries them. */
export function encodeInlineRecords(results: readonly CachedResult[]): string {
  const records = sortedBy(results, ({ key }) => key).map(({ key, layers, created }) => ({
    digest: key,
    layers: [{ layer: layers.length - 1, ...field('createdAt', created) }],
  }))
  return Buffer.from(JSON.stringify(records)).toString('base64')
}

function sortedBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...items].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
}

class LayerTable {
  readonly rows: object[] = []
  readonly #indexes = new Map<ChainId, number>()

  /** The index of the topmost. */
  add(stack: readonly StackedLayer[]): number {
    let parent = -1
    for (const [at, chain] of chainIds(stack.map(({ diffId }) => diffId)).entries()) {
      const layer = stack[at]
      if (layer === undefined) throw new Error('A chain without its layer')
      parent = this.#indexes.get(chain) ?? this.rows.push(rowOf(layer, parent)) - 1
      this.#indexes.set(chain, parent)
    }
    return parent
  }
}

function rowOf({ diffId, descriptor }: StackedLayer, parent: number): object {
  const { digest, mediaType, size } = descriptor
  return { blob: digest, parent, annotations: { mediaType, diffID: diffId, size } }
}

function mountRow(mount: SavedMount): object {
  const { id, mode, uid, gid } = mount
  return { id, mode, uid, gid, ...rowOf(mount, -1) }
}

/** Throws `invalid` for what is no such document, `too-large` for more than anybody has. */
export function decodeCacheConfig(bytes: Uint8Array): CacheIndex {
  const root = parseJson('cache config', bytes)
  const rows = bounded(root, 'layers').map(row => orAbsent(() => rowFrom(row)))
  const own = optional(member(root, 'tsbuild'), node => node)
  const stackAt = (index: number): StackedLayer[] | undefined => {
    const stack: StackedLayer[] = []
    for (let at = index; at !== -1; ) {
      const row = rows[at]
      // Also where parents go round in a circle.
      if (row === undefined || stack.length === maxStack) return undefined
      stack.unshift(row.layer)
      at = row.parent
    }
    return stack
  }
  return {
    find: indexOf(bounded(root, 'records'), stackAt),
    memo: own === undefined ? new Map() : memoFrom(member(own, 'memo')),
    mounts: own === undefined ? [] : bounded(own, 'mounts').flatMap(mountFrom),
  }
}

/** As {@link decodeCacheConfig}, of an image's own records. */
export function decodeInlineRecords(text: string, layers: readonly StackedLayer[]): CacheIndex {
  const root = parseJson('inline cache', Buffer.from(text, 'base64'))
  const stackAt = (index: number) =>
    index < layers.length ? layers.slice(0, index + 1) : undefined
  return { find: indexOf(entriesOf(root), stackAt), memo: new Map(), mounts: [] }
}

function bounded(node: JsonNode, key: string): JsonNode[] {
  return optional(member(node, key), entriesOf) ?? []
}

function entriesOf(node: JsonNode): JsonNode[] {
  const entries = asArray(node)
  if (entries.length <= maxEntries) return entries
  throw new OciError(
    'too-large',
    `Cannot read ${node.document}: ${printable(node.path)} has more than ${maxEntries} entries`,
  )
}

type StackAt = (index: number) => readonly StackedLayer[] | undefined

function indexOf(records: readonly JsonNode[], stackAt: StackAt): CacheIndex['find'] {
  const results = new Map<string, { readonly layer: number; readonly created?: string }>()
  for (const record of records) {
    const found = orAbsent(() => recordFrom(record))
    if (found !== undefined) results.set(found.key, found)
  }
  return key => {
    const result = results.get(key)
    const layers = result && stackAt(result.layer)
    if (result === undefined || layers === undefined || layers.length === 0) return undefined
    return { layers, ...field('created', result.created) }
  }
}

function recordFrom(record: JsonNode) {
  const [result] = asArray(member(record, 'layers'))
  if (result === undefined) return undefined
  const createdAt = optional(member(result, 'createdAt'), asString)
  const isTime = createdAt !== undefined && !Number.isNaN(Date.parse(createdAt))
  return {
    key: parseDigest(asString(member(record, 'digest'))),
    layer: asSize(member(result, 'layer')),
    ...field('created', isTime ? createdAt : undefined),
  }
}

interface Row {
  readonly layer: StackedLayer
  readonly parent: number
}

function rowFrom(node: JsonNode): Row {
  // Go leaves zeros out.
  const parent = member(node, 'parent')
  return {
    layer: {
      diffId: parseDiffId(asString(member(member(node, 'annotations'), 'diffID'))),
      descriptor: descriptorIn(node),
    },
    parent: parent.value === -1 ? -1 : (optional(parent, asSize) ?? 0),
  }
}

function descriptorIn(node: JsonNode): Descriptor {
  const annotations = member(node, 'annotations')
  return {
    mediaType: asString(member(annotations, 'mediaType')),
    digest: parseDigest(asString(member(node, 'blob'))),
    size: asSize(member(annotations, 'size')),
  }
}

function memoFrom(node: JsonNode): ReadonlyMap<string, KeyParts> {
  const memo = optional(node, asObject) ?? {}
  const entries = Object.keys(memo).flatMap(hex => {
    const parts = orAbsent(() => asStringMap(member(node, hex)))
    return parts === undefined ? [] : [[hex, parts] as const]
  })
  return new Map(entries)
}

function mountFrom(node: JsonNode): SavedMount[] {
  const mount = orAbsent(() => ({
    id: asString(member(node, 'id')),
    mode: asSize(member(node, 'mode')) & 0o7777,
    uid: asSize(member(node, 'uid')),
    gid: asSize(member(node, 'gid')),
    ...rowFrom(node).layer,
  }))
  return mount === undefined ? [] : [mount]
}

/** Of another version of the program, or of a hostile one. */
function orAbsent<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    if (hasCode(error, 'invalid')) return undefined
    throw error
  }
}
