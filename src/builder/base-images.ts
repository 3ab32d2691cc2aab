/**
 * Base images: what FROM and `COPY --from` name outside the Dockerfile.
 *
 * Resolving one reads its manifest and config, from the store or from a registry. Its layers stay
 * where they are until somebody needs them: see filesystems.ts.
 */
import { readImage } from '../layerfs/runtime/local-image.ts'
import type { Store } from '../layerfs/store.ts'
import type { Descriptor, Document } from '../oci/descriptor.ts'
import type { DiffId } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import type { Manifest } from '../oci/manifest.ts'
import { isIndex } from '../oci/media-type.ts'
import { formatPlatform, type Platform, platformDistance } from '../oci/platform.ts'
import { formatReference, parseReference, type Reference } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/client/client.ts'
import { pullImage } from '../registry/client/pull.ts'
import type { EmitBuildEvent } from './build-event.ts'
import type { PullPolicy } from './build-request.ts'
import type { LayerStack } from './filesystems.ts'
import { importLayoutImage, type LayoutImage, layoutName } from './layout-image.ts'
import type { OutsideOrigin } from './plan/step.ts'
import { registrySource } from './registry-source.ts'
import type { NamedContextNames } from './sources/context-name.ts'
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
}

export interface BaseImageWorld {
  /** Whether several platforms are built at once: progress then says for which it is. */
  readonly isMultiPlatform?: boolean
  readonly store: Store
  readonly contexts: NamedContextNames
  readonly client: RegistryClient
  readonly pull: PullPolicy
  /** Is told the layers of each image, once. */
  readonly onLayers?: (stack: LayerStack) => void
  readonly emit: EmitBuildEvent
  readonly signal: AbortSignal
}

export function baseImages(world: BaseImageWorld): BaseImages {
  const resolved = new Map<string, Promise<BaseImage>>()

  const resolveOnce = (key: string, start: () => Promise<BaseImage>) => {
    const image = resolved.get(key) ?? start().then(told)
    resolved.set(key, image)
    return image
  }

  const told = (image: BaseImage) => {
    world.onLayers?.(stackOf(image, world))
    return image
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
      const image = await findImage(reference, platform, world)
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

async function findImage(
  reference: Reference,
  platform: Platform,
  world: BaseImageWorld,
): Promise<BaseImage> {
  const { pull } = world
  const local = pull === 'always' ? undefined : await findLocal(reference, platform, world)
  if (pull === 'never' && local === undefined) {
    throw new OciError('not-found', 'it is not in the store, and --pull=never', {
      hint: `Get it before: tsbuild pull ${formatReference(reference)}`,
    })
  }
  if (local !== undefined && pull !== 'newer') return local
  try {
    return await pullMetadata(reference, platform, world)
  } catch (error) {
    if (local === undefined || !(error instanceof OciError) || world.signal.aborted) throw error
    const message = `${local.name} may not be the newest: ${error.message}`
    world.emit({ kind: 'warning', message })
    return local
  }
}

async function findLocal(
  reference: Reference,
  platform: Platform,
  { store }: BaseImageWorld,
): Promise<BaseImage | undefined> {
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

/** Missing layers come from where the image was found. */
function stackOf(image: BaseImage, world: BaseImageWorld): LayerStack {
  const { name, reference, platform, manifest, config } = image
  const diffIds = config.value.rootfs.diff_ids
  return {
    title: work => internal(`${work} ${name}`, platform, world),
    origin: 'base',
    layers: manifest.value.layers.map((descriptor, index) => ({
      descriptor,
      diffId: diffIds[index] as DiffId,
    })),
    ...(reference === undefined ? {} : { source: registrySource(world.client, reference) }),
  }
}
