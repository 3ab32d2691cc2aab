/**
 * Filesystems of a build that need not be in the store: of base images, of results that another
 * build's cache knows, of layers laid on each other.
 *
 *   known ──a step reads it──► fetched ──► unpacked, or laid: in the store
 *     └────an output sends it──► fetched, or streamed from where it is
 *
 * 1. Nothing is fetched before somebody needs its bytes, and nothing twice.
 * 2. What is fetched has the digest, what is unpacked the diff ID that it is known by.
 */
import type { BlobReader, ContentStore } from '../layerfs/content/content-store.ts'
import { type OnBlob, whileArriving } from '../layerfs/content/while-arriving.ts'
import { countUnpacked, type StackedLayer, unpackStack } from '../layerfs/image/unpack.ts'
import type { Store } from '../layerfs/store.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type ChainId, chainIds, type DiffId, type Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import type { RepositoryName } from '../oci/reference.ts'
import { type LazyBlob, lazyBlobs } from '../registry/client/registry-blobs.ts'
import type { Repository } from '../registry/client/request.ts'
import type { OnTransfer } from '../registry/client/transfer-event.ts'
import type { EmitBuildEvent } from './build-event.ts'
import { transferStatus, unpackStatus } from './transfer-status.ts'
import { vertex } from './vertex.ts'

/** Where blobs are that the store lacks. */
export interface BlobSource {
  /** Of a registry: where it can mount them from. */
  readonly at?: Repository
  /** Into the store, verified. Throws `not-found`, `digest-mismatch` and what its transport throws. */
  fetch(blobs: readonly Descriptor[], into: ContentStore, options: FetchOptions): Promise<void>
  /** The bytes, verified where they are read to the end. Throws the same. */
  open(blob: Descriptor): AsyncIterable<Uint8Array>
}

export interface FetchOptions {
  /** Is told of each blob as soon as the store has it. */
  readonly onBlob?: OnBlob
  readonly onEvent: OnTransfer
  readonly signal: AbortSignal
}

export interface LayerStack {
  /** How its progress is called. */
  readonly title: (work: 'pull' | 'unpack') => string
  /** `base`: of an image that was there before; `cache`: what another build made of a step. */
  readonly origin: 'base' | 'cache'
  /** Lowest first. */
  readonly layers: readonly StackedLayer[]
  /** Absent: what is not in the store is nowhere. */
  readonly source?: BlobSource
}

export interface KnownLayer extends StackedLayer {
  readonly stack: LayerStack
}

/** A layer that was made on another filesystem than the one it belongs on. */
export interface LaidLayer {
  /** The filesystem with the layer on top. */
  readonly name: ChainId
  /** Where the layer's files are, or can be brought. */
  readonly own: ChainId
  /** Makes `name`; idempotent. */
  readonly lay: (signal: AbortSignal) => Promise<void>
}

export interface Filesystems {
  addStack(stack: LayerStack): void
  addLaid(layer: LaidLayer): void
  /**
   * Makes sure that the filesystem is in the store. Throws `not-found` for one that is neither
   * there nor known here, and what its source throws.
   */
  materialize(chain: ChainId, signal: AbortSignal): Promise<void>
  /** Makes sure that the known ones of these layers have their blobs in the store. */
  fetchLayers(layers: readonly DiffId[], signal: AbortSignal): Promise<void>
  /** A layer whose blob need not be made. */
  find(layer: DiffId): KnownLayer | undefined
  /** The filesystem in which the topmost layer of `chain` was made. */
  madeAs(chain: ChainId): ChainId
  /** The blobs of all known layers, from where they are. */
  readonly blobs: BlobReader
  /** Per blob, repositories of that registry that have it. */
  mountFrom(registry: string): ReadonlyMap<Digest, readonly RepositoryName[]>
}

interface Place {
  readonly store: Store
  readonly emit: EmitBuildEvent
}

export function openFilesystems(place: Place): Filesystems {
  const known = new KnownLayers()
  const laid = new Map<ChainId, LaidLayer>()
  const running = new Map<ChainId, Promise<void>>()

  const bring = async (chain: ChainId, signal: AbortSignal): Promise<void> => {
    if ((await place.store.snapshots.find(chain)) !== undefined) return
    const layer = laid.get(chain)
    if (layer !== undefined) return layer.lay(signal)
    const layers = known.stackOf(chain)
    if (layers === undefined) throw gone(chain)
    await bringLayers(layers, { ...place, signal })
  }

  return {
    addStack: stack => known.add(stack),
    addLaid: layer => {
      laid.set(layer.name, layer)
    },
    materialize: (chain, signal) => {
      const brought = running.get(chain) ?? bring(chain, signal)
      running.set(chain, brought)
      return brought
    },
    fetchLayers: async (layers, signal) => {
      const wanted = layers.flatMap(layer => known.find(layer) ?? [])
      await fetchBlobs(await missingBlobs(wanted, place.store), { ...place, signal })
    },
    find: layer => known.find(layer),
    madeAs: chain => laid.get(chain)?.own ?? chain,
    blobs: lazyBlobs(digest => known.lazyBlob(digest)),
    mountFrom: registry => known.mountFrom(registry),
  }
}

class KnownLayers {
  readonly #layers = new Map<DiffId, KnownLayer>()
  readonly #stacks = new Map<ChainId, readonly KnownLayer[]>()

  /** What was known first stays: base images are what the user named. */
  add(stack: LayerStack): void {
    for (const layer of stack.layers) {
      if (this.#layers.has(layer.diffId)) continue
      this.#layers.set(layer.diffId, { ...layer, stack })
    }
    const layers = stack.layers.map(({ diffId }) => this.#layers.get(diffId) as KnownLayer)
    for (const [index, chain] of chainIds(layers.map(({ diffId }) => diffId)).entries()) {
      if (!this.#stacks.has(chain)) this.#stacks.set(chain, layers.slice(0, index + 1))
    }
  }

  find(layer: DiffId): KnownLayer | undefined {
    return this.#layers.get(layer)
  }

  stackOf(chain: ChainId): readonly KnownLayer[] | undefined {
    return this.#stacks.get(chain)
  }

  lazyBlob(digest: Digest): LazyBlob | undefined {
    for (const { descriptor, stack } of this.#layers.values()) {
      if (descriptor.digest !== digest || stack.source === undefined) continue
      const { source } = stack
      return { size: descriptor.size, open: () => source.open(descriptor) }
    }
    return undefined
  }

  mountFrom(registry: string): Map<Digest, RepositoryName[]> {
    const places = new Map<Digest, RepositoryName[]>()
    for (const { descriptor, stack } of this.#layers.values()) {
      const { at } = stack.source ?? {}
      if (at?.registry === registry) places.set(descriptor.digest, [at.repository])
    }
    return places
  }
}

interface Work extends Place {
  readonly signal: AbortSignal
}

/** A stack's layers from where they are into the store, unpacked. */
async function bringLayers(layers: readonly KnownLayer[], work: Work): Promise<void> {
  const { store, emit, signal } = work
  const diffIds = layers.map(({ diffId }) => diffId)
  const missing = await missingBlobs(layers.slice(await countUnpacked(diffIds, store)), store)
  const name = layers.at(-1)?.stack.title('unpack') ?? ''
  await whileArriving({
    coming: [...missing.values()].flat().map(({ digest }) => digest),
    bring: (onBlob, stop) => fetchBlobs(missing, { ...work, onBlob, signal: stop }),
    use: (arrived, stop) =>
      vertex({ name, signal: stop }, emit, async id => {
        const onEvent = unpackStatus(id, emit)
        await unpackStack(layers, store, { signal: stop, arrived, onEvent })
      }),
    signal,
  })
}

type MissingBlobs = ReadonlyMap<LayerStack, readonly Descriptor[]>

async function missingBlobs(layers: readonly KnownLayer[], { content }: Store) {
  const missing = new Map<LayerStack, Descriptor[]>()
  for (const { descriptor, stack } of layers) {
    if ((await content.find(descriptor.digest)) !== undefined) continue
    missing.set(stack, [...(missing.get(stack) ?? []), descriptor])
  }
  return missing
}

async function fetchBlobs(
  missing: MissingBlobs,
  { store, emit, ...options }: Work & { readonly onBlob?: OnBlob },
): Promise<void> {
  for (const [{ source, title }, blobs] of missing) {
    if (source === undefined) throw nowhere(title('pull'))
    await vertex(title('pull'), emit, async id => {
      await source.fetch(blobs, store.content, { ...options, onEvent: transferStatus(id, emit) })
    })
  }
}

function nowhere(title: string): OciError {
  return new OciError('not-found', `Cannot ${title}: its layers are no longer in the store`)
}

function gone(chain: ChainId): OciError {
  return new OciError('not-found', `Cannot find snapshot ${chain} in the store`, {
    hint: 'it was removed while the build ran; build again',
  })
}
