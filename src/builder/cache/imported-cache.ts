/**
 * Caches of other builds, as `--cache-from` names them.
 *
 * 1. A cache that cannot be read is a warning, and the build goes on without it.
 * 2. What a cache says counts for this build alone: nothing of it is remembered in the store, where
 *    a later build would believe it that does not name the cache.
 * 3. A result's layers stay where they are until somebody needs them; but they are there.
 */
import type { Store } from '../../layerfs/store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { OciError } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import type { Platform } from '../../oci/platform.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { Filesystems } from '../filesystems.ts'
import type { CacheKey, KeyParts } from '../solve/graph.ts'
import type { StepCache, StepRecord } from '../solve/step-cache.ts'
import { once } from '../sources/once.ts'
import type { Memo } from '../steps/step-world.ts'
import { vertex } from '../vertex.ts'
import { type CachedResult, type CacheIndex, memoHex } from './cache-config.ts'
import type { CachePlace, CacheSource } from './cache-place.ts'
import type { SavedMount } from './saved-mount.ts'

export interface ImportedCaches {
  /** The first cache's that has it. */
  find(key: CacheKey): Promise<StepRecord | undefined>
  findMemo(key: string): Promise<KeyParts | undefined>
  findMount(id: string): Promise<ImportedMount | undefined>
}

export interface ImportedMount extends SavedMount {
  readonly source: CacheSource
  /** Of the cache, for people. */
  readonly from: string
}

interface ImportWorld {
  readonly store: Store
  readonly filesystems: Filesystems
  readonly emit: EmitBuildEvent
  readonly signal: AbortSignal
}

/** They are read when first asked for: a build that the store knows asks nobody. */
export function importCaches(
  places: readonly CachePlace[],
  platforms: readonly Platform[],
  world: ImportWorld,
): ImportedCaches {
  const opening = new Map<string, Promise<(OpenedCache | undefined)[]>>()
  const openAll = () => Promise.all(places.map(place => open(place, platforms, world)))
  const caches = async () =>
    (await once(opening, 'all', openAll)).filter(cache => cache !== undefined)
  return {
    find: async key => {
      for (const cache of await caches()) {
        const found = await cache.find(key)
        if (found !== undefined) return found
      }
      return undefined
    },
    findMemo: async key => {
      const hex = memoHex(key)
      for (const { indexes } of await caches()) {
        for (const { memo } of indexes) if (memo.has(hex)) return memo.get(hex)
      }
      return undefined
    },
    findMount: async id => {
      for (const { indexes, source, name } of await caches()) {
        const mount = indexes.flatMap(({ mounts }) => mounts).find(one => one.id === id)
        if (mount !== undefined) return { ...mount, source, from: name }
      }
      return undefined
    },
  }
}

interface OpenedCache {
  readonly name: string
  readonly indexes: readonly CacheIndex[]
  readonly source: CacheSource
  find(key: CacheKey): Promise<StepRecord | undefined>
}

async function open(
  place: CachePlace,
  platforms: readonly Platform[],
  world: ImportWorld,
): Promise<OpenedCache | undefined> {
  const { name } = place
  const { emit, signal } = world
  try {
    const { indexes, source } = await vertex(`importing cache manifest from ${name}`, emit, () =>
      place.read({ platforms, signal }),
    )
    const cache = { name, indexes, source }
    return { ...cache, find: key => findIn(cache, key, world) }
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof Error)) throw error
    emit({ kind: 'warning', message: `cache ${name} is not used: ${error.message}` })
    return undefined
  }
}

async function findIn(
  { name, indexes, source }: Omit<OpenedCache, 'find'>,
  key: CacheKey,
  world: ImportWorld,
): Promise<StepRecord | undefined> {
  const { filesystems, emit, signal } = world
  for (const index of indexes) {
    const found = index.find(key)
    if (found === undefined) continue
    const missing = await firstMissing(found, source, world)
    if (missing === undefined) {
      const { layers, created } = found
      const title = (work: 'pull' | 'unpack') => `[internal] ${work} from cache ${name}`
      filesystems.addStack({ title, origin: 'cache', layers, source })
      const diffIds = layers.map(({ diffId }) => diffId)
      return { layers: diffIds, ...field('created', created), parts: {}, from: name }
    }
    signal.throwIfAborted()
    emit({
      kind: 'warning',
      message: `cache ${name} lacks layer ${missing.digest}: it is not used`,
    })
  }
  return undefined
}

/** A step built on it would fail long after another answer was possible. */
async function firstMissing(
  { layers }: Omit<CachedResult, 'key'>,
  source: CacheSource,
  { store, filesystems, signal }: ImportWorld,
): Promise<Descriptor | undefined> {
  for (const { diffId, descriptor } of layers) {
    if (filesystems.find(diffId) !== undefined) continue
    const here = await store.content.find(descriptor.digest)
    if (here?.size === descriptor.size) continue
    if (!(await hasBlob(source, descriptor, signal))) return descriptor
  }
  return undefined
}

async function hasBlob(
  source: CacheSource,
  blob: Descriptor,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return await source.has(blob, signal)
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof OciError) return false
    throw error
  }
}

/** What the store knows, then what the imported caches know. */
export function withImports(
  { cache, memo }: { readonly cache: StepCache; readonly memo: Memo },
  imports: ImportedCaches,
): { readonly cache: StepCache; readonly memo: Memo } {
  return {
    cache: { ...cache, find: async key => (await cache.find(key)) ?? (await imports.find(key)) },
    memo: {
      ...memo,
      find: async key => (await memo.find(key)) ?? (await imports.findMemo(key)),
    },
  }
}
