/**
 * Base images: what FROM and `COPY --from` name outside the Dockerfile.
 *
 * Resolving one reads its manifest and config, from the store or from a registry. Its layers are
 * brought into the store and unpacked only when a step needs the files: a base whose layers are
 * all behind cached steps is never downloaded.
 */
import { unpackImage } from '../layerfs/image/unpack.ts'
import { readImage } from '../layerfs/runtime/local-image.ts'
import type { Store } from '../layerfs/store.ts'
import type { Descriptor, Document } from '../oci/descriptor.ts'
import { type ChainId, chainIds, type DiffId } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import type { Manifest } from '../oci/manifest.ts'
import { isIndex } from '../oci/media-type.ts'
import { formatPlatform, type Platform, platformDistance } from '../oci/platform.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client/client.ts'
import { pullImage } from '../registry/client/pull.ts'
import type { EmitBuildEvent } from './build-event.ts'
import { importLayoutImage, type LayoutImage, layoutName } from './layout-image.ts'
import type { OutsideOrigin } from './plan/step.ts'
import type { NamedContextNames } from './sources/context-name.ts'
import { transferStatus } from './transfer-status.ts'
import { vertex } from './vertex.ts'

export interface BaseImage {
  /** For messages. */
  readonly name: string
  /** Where missing layers come from; absent: all of the image is in the store. */
  readonly reference?: Reference
  /** Of the manifest for the platform. */
  readonly descriptor: Descriptor
  readonly manifest: Document<Manifest>
  readonly config: Document<ImageConfig>
  readonly platform: Platform
}

export interface BaseImages {
  /** Throws `not-found` and what the registry client throws. */
  resolve(reference: string, platform: Platform): Promise<BaseImage>
  /**
   * The image that an origin is; `undefined` for a named context of files. Throws as `resolve`, and
   * `invalid` for what is no OCI layout.
   */
  find(origin: OutsideOrigin): Promise<BaseImage | undefined>
  /**
   * Makes sure that the filesystem is in the store. Throws `not-found` for one that is neither
   * there nor a part of an image resolved here.
   */
  materialize(chain: ChainId, signal: AbortSignal): Promise<void>
  /** Makes sure that the layers' blobs are in the store; those of steps are none of its business. */
  fetchLayers(layers: readonly DiffId[], signal: AbortSignal): Promise<void>
  /** A base layer as the image had it: its blob need not be made again. */
  descriptorOf(layer: DiffId): Descriptor | undefined
}

export interface BaseImageWorld {
  /** Whether several platforms are built at once: progress then says for which it is. */
  readonly isMultiPlatform?: boolean
  readonly store: Store
  readonly contexts: NamedContextNames
  readonly client: RegistryClient
  /** `missing`: an image in the store is used as it is; `always`: the registry is asked. */
  readonly pull: 'missing' | 'always'
  readonly emit: EmitBuildEvent
  readonly signal: AbortSignal
}

export function baseImages(world: BaseImageWorld): BaseImages {
  const resolved = new Map<string, Promise<BaseImage>>()
  const unpacking = new Map<string, Promise<void>>()
  const known = new Set<BaseImage>()

  const unpackOnce = (image: BaseImage, signal: AbortSignal): Promise<void> => {
    const { digest } = image.manifest
    const running = unpacking.get(digest) ?? fetchAndUnpack(image, world, signal)
    unpacking.set(digest, running)
    return running
  }

  const resolveOnce = async (key: string, start: () => Promise<BaseImage>) => {
    const image = resolved.get(key) ?? start()
    resolved.set(key, image)
    const found = await image
    known.add(found)
    return found
  }

  const resolve = (reference: string, platform: Platform) =>
    resolveOnce(`${reference} ${formatPlatform(platform)}`, () =>
      resolveImage(reference, platform, world),
    )
  const resolveLayout = (layout: LayoutImage, platform: Platform) =>
    resolveOnce(`${layoutName(layout)} ${formatPlatform(platform)}`, () =>
      resolveFromLayout(layout, platform, world),
    )

  return {
    resolve,
    find: async origin => {
      const { platform } = origin
      if (origin.kind === 'image') return await resolve(origin.reference, platform)
      const context = world.contexts.get(origin.name)
      if (context?.kind === 'image') return await resolve(context.reference, platform)
      if (context?.kind === 'oci-layout') return await resolveLayout(context, platform)
      return undefined
    },
    materialize: async (chain, signal) => {
      if ((await world.store.snapshots.find(chain)) !== undefined) return
      const image = [...known].find(({ config }) =>
        chainIds(config.value.rootfs.diff_ids).includes(chain),
      )
      if (image === undefined) {
        throw new OciError('not-found', `Cannot find snapshot ${chain} in the store`, {
          hint: 'it was removed while the build ran; build again',
        })
      }
      await unpackOnce(image, signal)
    },
    fetchLayers: async (layers, signal) => {
      const wanted = new Set(layers)
      for (const image of known) {
        const isPart = image.config.value.rootfs.diff_ids.some(layer => wanted.has(layer))
        if (isPart) await fetchMissing(image, world, signal)
      }
    },
    descriptorOf: layer => {
      for (const { config, manifest } of known) {
        const index = config.value.rootfs.diff_ids.indexOf(layer)
        if (index !== -1) return manifest.value.layers[index]
      }
      return undefined
    },
  }
}

function internal(
  text: string,
  platform: Platform,
  { isMultiPlatform = false }: BaseImageWorld,
): string {
  return isMultiPlatform ? `[${formatPlatform(platform)} internal] ${text}` : `[internal] ${text}`
}

async function resolveImage(
  text: string,
  platform: Platform,
  world: BaseImageWorld,
): Promise<BaseImage> {
  const reference = parseReference(text)
  const name = formatReference(reference)
  return vertex(internal(`load metadata for ${name}`, platform, world), world.emit, async () => {
    try {
      const local = await findLocal(reference, platform, world)
      const image = local ?? (await pullMetadata(reference, platform, world))
      assertLayerCount(image)
      return image
    } catch (error) {
      throw failedToResolve(name, error)
    }
  })
}

async function resolveFromLayout(
  layout: LayoutImage,
  platform: Platform,
  world: BaseImageWorld,
): Promise<BaseImage> {
  const name = layoutName(layout)
  const { store } = world
  return vertex(internal(`load metadata for ${name}`, platform, world), world.emit, async () => {
    try {
      const target = await importLayoutImage(layout, store.content)
      const image = { name, platform, ...(await readImage(store.content, target, platform)) }
      assertLayerCount(image)
      return image
    } catch (error) {
      throw failedToResolve(name, error)
    }
  })
}

/** BuildKit's words (F13); the registry's own stand behind them. */
function failedToResolve(name: string, error: unknown): unknown {
  if (!(error instanceof OciError)) return error
  return new OciError(
    error.code,
    `failed to resolve source metadata for ${name}: ${error.message}`,
    {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    },
  )
}

/** A config that disagrees with its manifest would lay the wrong layers on each other. */
function assertLayerCount({ manifest, config }: BaseImage): void {
  const [layers, diffIds] = [manifest.value.layers.length, config.value.rootfs.diff_ids.length]
  if (layers === diffIds) return
  throw new OciError(
    'invalid',
    `The image is damaged: its manifest has ${layers} layers, its config ${diffIds}`,
  )
}

async function findLocal(
  reference: Reference,
  platform: Platform,
  { store, pull }: BaseImageWorld,
): Promise<BaseImage | undefined> {
  if (pull === 'always') return undefined
  const record = await store.images.get(reference)
  if (record === undefined) return undefined
  const image = await readImage(store.content, record.target, platform)
  // Of an index, another platform may be all that is here; the registry may have ours.
  if (isIndex(record.target.mediaType) && !isFor(platform, image.config.value)) return undefined
  return { name: formatReference(reference), reference, platform, ...image }
}

function isFor(platform: Platform, config: ImageConfig): boolean {
  return platformDistance(platform, config) !== undefined
}

async function pullMetadata(
  reference: Reference,
  platform: Platform,
  { client, store, signal }: BaseImageWorld,
): Promise<BaseImage> {
  const options = { platform, into: store.content, layers: 'none', signal } as const
  const { descriptor, manifest, config, indexes } = await pullImage(client, reference, options)
  const target = indexes[0]?.descriptor ?? descriptor
  await store.images.set({ reference, target })
  return { name: formatReference(reference), reference, descriptor, manifest, config, platform }
}

async function fetchMissing(
  image: BaseImage,
  world: BaseImageWorld,
  signal: AbortSignal,
): Promise<void> {
  const { store, client } = world
  const present = await Promise.all(
    image.manifest.value.layers.map(({ digest }) => store.content.find(digest)),
  )
  if (present.every(blob => blob !== undefined)) return
  const { name, reference, platform, manifest } = image
  if (reference === undefined) {
    throw new OciError(
      'not-found',
      `Cannot use image ${name}: its layers are no longer in the store`,
    )
  }
  const { registry, repository } = reference
  const pinned = { registry, repository, digest: manifest.digest }
  await vertex(internal(`pull ${name}`, platform, world), world.emit, async id => {
    const onEvent = transferStatus(id, world.emit)
    const options = { platform, into: store.content, layers: 'all', signal, onEvent } as const
    await pullImage(client, pinned, options)
  })
}

async function fetchAndUnpack(
  image: BaseImage,
  world: BaseImageWorld,
  signal: AbortSignal,
): Promise<void> {
  await fetchMissing(image, world, signal)
  await vertex(internal(`unpack ${image.name}`, image.platform, world), world.emit, async () => {
    await unpackImage({ manifest: image.manifest.value, config: image.config.value }, world.store, {
      signal,
    })
  })
}
