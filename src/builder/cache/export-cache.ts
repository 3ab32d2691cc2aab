/**
 * `--cache-to`: what a build learned, for builds elsewhere.
 *
 * The layers of base images are told, not kept: whoever builds on the same base has them from there.
 */

import type { StackedLayer } from '../../layerfs/image/unpack.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { ChainId, DiffId } from '../../oci/digest.ts'
import { chainIds } from '../../oci/digest.ts'
import { printable } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { parallel } from '../../registry/client/parallel.ts'
import { firstOf } from '../../registry/client/registry-blobs.ts'
import type { BuildWorld } from '../build-request.ts'
import type { BuildResult } from '../build-result.ts'
import { imageLayer } from '../export/image-layers.ts'
import type { ImageOptions } from '../export/image-options.ts'
import { isCacheNamed } from '../plan/cache-id.ts'
import type { StepResult } from '../solve/graph.ts'
import { transferStatus } from '../transfer-status.ts'
import { vertex } from '../vertex.ts'
import { type CacheContents, type CachedResult, encodeCacheConfig } from './cache-config.ts'
import type { CachePlace, ManifestForm } from './cache-place.ts'
import { isPrefix } from './inline-cache.ts'
import { saveMounts } from './save-mounts.ts'

export interface CacheDestination {
  /** `registry`, `client directory`: BuildKit's words for its progress. */
  readonly kind: string
  readonly place: CachePlace
  /** `min`: the steps of the image; `max`: of all stages that were built. */
  readonly mode: 'min' | 'max'
  readonly form: ManifestForm
  readonly layers: ImageOptions
  /** Whose contents go along; ids. */
  readonly mounts: 'all' | readonly string[]
  /** Whether a failure is a warning. */
  readonly ignoreError: boolean
}

/**
 * One after the other; the descriptor of each that was written. Throws what the place throws, unless
 * its failures are to be ignored.
 */
export async function exportCaches(
  results: readonly BuildResult[],
  destinations: readonly CacheDestination[],
  world: BuildWorld,
): Promise<Descriptor[]> {
  const written: Descriptor[] = []
  for (const destination of destinations) {
    try {
      written.push(await exportCache(results, destination, world))
    } catch (error) {
      world.signal.throwIfAborted()
      if (!destination.ignoreError || !(error instanceof Error)) throw error
      const { name } = destination.place
      world.emit({ kind: 'warning', message: `cache ${name} is not written: ${error.message}` })
    }
  }
  return written
}

function exportCache(
  results: readonly BuildResult[],
  destination: CacheDestination,
  world: BuildWorld,
): Promise<Descriptor> {
  const { kind, place, form } = destination
  const { emit, signal, store } = world
  return vertex(`exporting cache to ${kind}`, emit, async id => {
    const status = (item: string, isDone: boolean) =>
      emit({ kind: 'status', id, item, current: 0, isDone })
    status('preparing build cache for export', false)
    const { contents, own } = await contentsOf(results, destination, world)
    status('preparing build cache for export', true)
    const [{ filesystems } = nothingBuilt()] = results
    const written = await place.write(
      {
        config: encodeCacheConfig(contents),
        layers: own,
        from: firstOf(store.content, filesystems.blobs),
        mountFrom: filesystems.mountFrom,
      },
      { form, onEvent: transferStatus(id, emit), signal },
    )
    status(`writing cache manifest ${written.digest}`, true)
    return written
  })
}

function nothingBuilt(): never {
  throw new Error('A cache of no build')
}

interface Outgoing {
  readonly contents: CacheContents
  /** The layers that no base image has, each once. */
  readonly own: readonly Descriptor[]
}

async function contentsOf(
  results: readonly BuildResult[],
  { place, mode, layers: options, mounts }: CacheDestination,
  world: BuildWorld,
): Promise<Outgoing> {
  const [first = nothingBuilt()] = results
  const { collected } = first
  const wanted = [...collected.results].filter(
    ([, { layers }]) =>
      layers.length > 0 &&
      (mode === 'max' || results.some(result => isPrefix(layers, result.layers))),
  )
  const known = await layersOf(
    wanted.map(([, result]) => result),
    { result: first, options, world },
  )
  const own = [...known.values()]
    .filter(({ diffId }) => first.filesystems.find(diffId)?.stack.origin !== 'base')
    // Not in the order in which they were made: the same cache is to be the same bytes.
    .sort((a, b) => (a.diffId < b.diffId ? -1 : 1))
  const cached = wanted.map(([key, { layers, created }]): CachedResult => {
    const stack = layers.map(diffId => known.get(diffId) ?? nothingBuilt())
    return { key, layers: stack, ...field('created', created) }
  })
  const memo = mode === 'max' ? collected.memo : new Map()
  const { filesystems } = first
  const ids = mountsNamed(mounts, { known: collected.mounts, place: place.name, world })
  const saved = await saveMounts(ids, { options, imports: collected.imports, filesystems, world })
  const blobs = new Map([...own, ...saved].map(({ descriptor }) => [descriptor.digest, descriptor]))
  return { contents: { results: cached, memo, mounts: saved }, own: [...blobs.values()] }
}

/** Says of a name that is no step's that nothing is saved for it. */
function mountsNamed(
  names: CacheDestination['mounts'],
  { known, place, world }: { known: readonly string[]; place: string; world: BuildWorld },
): readonly string[] {
  if (names === 'all') return known
  for (const name of names.filter(one => !known.some(id => isCacheNamed(id, one)))) {
    const all = known.length === 0 ? 'none' : known.map(id => printable(id)).join(', ')
    const message = `cache ${place}: no step has the cache mount "${printable(name)}"; there is ${all}`
    world.emit({ kind: 'warning', message })
  }
  return known.filter(id => names.some(name => isCacheNamed(id, name)))
}

/** Each layer is a thread's work, and a moment of waiting for the disk. */
const layersAtOnce = 4

interface Making {
  readonly result: BuildResult
  readonly options: ImageOptions
  readonly world: BuildWorld
}

/** Compressed where no blob is known yet. */
async function layersOf(
  results: readonly StepResult[],
  { result: { filesystems }, options, world }: Making,
): Promise<ReadonlyMap<DiffId, StackedLayer>> {
  const { store, signal } = world
  const wanted = new Map<DiffId, ChainId>()
  for (const { layers } of results) {
    for (const [index, chain] of chainIds(layers).entries()) {
      wanted.set(layers[index] ?? nothingBuilt(), chain)
    }
  }
  const found = new Map<DiffId, StackedLayer>()
  await parallel([...wanted], { limit: layersAtOnce, signal }, async ([diffId, chain], stop) => {
    const known = filesystems.find(diffId)
    const making = { options, store, filesystems, signal: stop }
    const isBase = known?.stack.origin === 'base'
    found.set(diffId, isBase ? known : await imageLayer({ chain, diffId }, making))
  })
  return found
}
