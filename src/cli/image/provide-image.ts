/** The image that a command line names: from the store, a registry or a file, its layers unpacked. */
import type { NamedImage } from '../../layerfs/image/archive-layout.ts'
import { findImage, type LocalImage, readImage } from '../../layerfs/runtime/local-image.ts'
import type { Store } from '../../layerfs/store.ts'
import { type ChainId, chainIds } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { parseImagePlace } from '../../oci/image-place.ts'
import { type Platform, platformDistance } from '../../oci/platform.ts'
import { parseReference, type Reference } from '../../oci/reference.ts'
import type { CliContext } from '../command.ts'
import { wantedPlatform } from '../wanted-platform.ts'

export interface WantedImage {
  /** A name, an id, or a place as skopeo names it. */
  readonly name: string
  /** As it was typed; only an image for it will do. */
  readonly platform?: string | undefined
  readonly pull: 'always' | 'missing' | 'never'
  /** Of an image that has to be pulled; `unpacked` spares {@link provideLayers} the work. */
  readonly layers: 'packed' | 'unpacked'
  readonly progress: 'auto' | 'quiet'
}

/** Throws what finding, importing or pulling throws. Layers may be missing: {@link provideLayers}. */
export async function provideImage(
  store: Store,
  wanted: WantedImage,
  context: CliContext,
): Promise<LocalImage> {
  const place = parseImagePlace(wanted.name)
  const platform = wantedPlatform(wanted.platform)
  if (place.kind === 'registry') return pull(store, place.reference, { wanted, context })
  if (place.kind !== 'name') {
    // Only now, like the registry client: most commands find the image.
    const { readOne } = await import('./file-place.ts')
    return localImage(store, await readOne(place, store.content, context), platform)
  }
  const local = wanted.pull === 'always' ? undefined : await findLocal(store, wanted.name, platform)
  if (local !== undefined && suits(local, wanted, platform)) return local
  if (wanted.pull === 'never') return findImage(store, wanted.name, platform)
  return pull(store, parseReference(wanted.name), { wanted, context })
}

interface Manner {
  readonly wanted: Pick<WantedImage, 'platform' | 'layers' | 'progress'>
  readonly context: CliContext
}

async function pull(store: Store, reference: Reference, manner: Manner): Promise<LocalImage> {
  const { wanted, context } = manner
  const { openWorld } = await import('../world.ts')
  const { pullIntoStore } = await import('./pull-image.ts')
  const platform = wantedPlatform(wanted.platform)
  await using world = await openWorld(context.environment)
  const request = { reference, platform, layers: wanted.layers, progress: wanted.progress }
  const target = await pullIntoStore(world, request, context)
  return await localImage(store, { target, reference }, platform)
}

async function localImage(
  store: Store,
  { target, reference }: NamedImage,
  platform: Platform,
): Promise<LocalImage> {
  return { ...(await readImage(store.content, target, platform)), target, reference }
}

async function findLocal(
  store: Store,
  name: string,
  platform: Platform,
): Promise<LocalImage | undefined> {
  try {
    return await findImage(store, name, platform)
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
}

/** An image for another platform is only taken when nobody asked for one. */
function suits({ config }: LocalImage, wanted: WantedImage, platform: Platform): boolean {
  return wanted.platform === undefined || platformDistance(platform, config.value) !== undefined
}

/**
 * The chain of the image's layers, unpacked first when they are not; `undefined` for an image
 * without layers. Throws what unpacking throws.
 */
export async function provideLayers(
  store: Store,
  image: LocalImage,
  { wanted, context }: { readonly wanted: WantedImage; readonly context: CliContext },
): Promise<ChainId | undefined> {
  const chain = chainIds(image.config.value.rootfs.diff_ids).at(-1)
  if (chain === undefined || (await store.snapshots.find(chain)) !== undefined) return chain
  // Only now: loading code takes longer than the rest of most runs.
  const { unpackImage } = await import('../../layerfs/image/unpack.ts')
  const documents = { manifest: image.manifest.value, config: image.config.value }
  return withMissingBlobs(image, {
    wanted,
    context,
    use: () => unpackImage(documents, store, { signal: context.signal }),
  })
}

interface BlobUse<T> {
  readonly wanted: WantedImage
  readonly context: CliContext
  readonly use: () => Promise<T>
}

/**
 * What `use` gives; when it misses a blob (never pulled, or removed because it was damaged), the
 * image's blobs are pulled again first, by digest: the name may mean another image by now.
 */
export async function withMissingBlobs<T>(
  image: LocalImage,
  { wanted, context, use }: BlobUse<T>,
): Promise<T> {
  try {
    return await use()
  } catch (error) {
    const { reference } = image
    if (!hasCode(error, 'not-found') || reference === undefined || wanted.pull === 'never') {
      throw error
    }
    const { registry, repository } = reference
    const { openWorld } = await import('../world.ts')
    const { pullBlobs } = await import('./pull-image.ts')
    await using world = await openWorld(context.environment)
    await pullBlobs(
      world,
      {
        reference: { registry, repository, digest: image.descriptor.digest },
        platform: wantedPlatform(wanted.platform),
        layers: wanted.layers,
        progress: wanted.progress,
      },
      context,
    ).catch((pulling: unknown) => {
      // That the registry does not have it says less than what is missing here.
      throw hasCode(pulling, 'not-found') ? error : pulling
    })
    return await use()
  }
}
