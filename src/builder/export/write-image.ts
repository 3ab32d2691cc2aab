/** Finished stages as an image in the content store: layers, configs, manifests, the index. */
import { ensureDocument } from '../../layerfs/image/write-manifest.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { encodeImageConfig, type ImageConfig } from '../../oci/image-config.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import type { BuildWorld } from '../build-request.ts'
import type { BuildResult } from '../build-result.ts'
import { inlineRecords, withoutInlineRecords } from '../cache/inline-cache.ts'
import { type ImageLayer, imageLayers } from './image-layers.ts'
import { annotationsOf, changesLayers, type ImageOptions } from './image-options.ts'

export interface WrittenImage {
  /** Of the manifest; of several platforms, of their index. */
  readonly descriptor: Descriptor
  /** One per platform. */
  readonly manifests: readonly WrittenManifest[]
  /** The image ID: the digest of the config; of several platforms, that of the index. */
  readonly id: Digest
}

export interface WrittenManifest {
  readonly descriptor: Descriptor
  readonly config: Descriptor
}

type ExportWorld = Pick<BuildWorld, 'store' | 'signal'>

export interface WriteOptions extends ImageOptions {
  /** Also of one platform. */
  readonly asIndex: boolean
  /** Whether the configs say which steps gave the layers (`--cache-to type=inline`). */
  readonly inlineCache: boolean
}

/** `results`: one per platform; several, or what asks for it, become an index in their order. */
export async function writeImage(
  results: readonly BuildResult[],
  options: WriteOptions,
  world: ExportWorld,
): Promise<WrittenImage> {
  const manifests: WrittenManifest[] = []
  for (const result of results) manifests.push(await writeManifest(result, options, world))
  const [first] = manifests
  if (first === undefined) throw new Error('An image of no platform')
  if (manifests.length === 1 && !options.asIndex) {
    return { descriptor: first.descriptor, manifests, id: first.config.digest }
  }
  const descriptor = await writeIndex(manifests, options, world)
  return { descriptor, manifests, id: descriptor.digest }
}

async function writeManifest(
  result: BuildResult,
  options: WriteOptions,
  world: ExportWorld,
): Promise<WrittenManifest> {
  const { content } = world.store
  const layers = await imageLayers(result, options, world)
  const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) } as const
  const isDocker = options.types === 'docker'
  const config = await ensureDocument(
    encodeImageConfig({ ...configOf(result, layers, options), rootfs }),
    isDocker ? mediaTypes.dockerConfig : mediaTypes.config,
    content,
  )
  const mediaType = isDocker ? mediaTypes.dockerManifest : mediaTypes.manifest
  const manifest = await putJson(content, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map(({ descriptor }) => descriptor),
    ...annotationsOf(options, 'manifest', result.platform),
  })
  const described = annotationsOf(options, 'manifest-descriptor', result.platform)
  const { architecture, os, ...more } = result.platform
  return {
    config,
    descriptor: { ...manifest, ...described, platform: { architecture, os, ...more } },
  }
}

function configOf(
  { config: own, collected }: BuildResult,
  layers: readonly ImageLayer[],
  options: WriteOptions,
): ImageConfig {
  const config = withoutInlineRecords(own)
  if (!options.inlineCache || changesLayers(options)) return config
  return { ...config, extra: { ...config.extra, ...inlineRecords(collected, layers) } }
}

async function writeIndex(
  manifests: readonly WrittenManifest[],
  options: ImageOptions,
  { store: { content } }: ExportWorld,
): Promise<Descriptor> {
  const index = await putJson(content, {
    schemaVersion: 2,
    mediaType: options.types === 'docker' ? mediaTypes.dockerIndex : mediaTypes.index,
    manifests: manifests.map(({ descriptor }) => descriptor),
    ...annotationsOf(options, 'index'),
  })
  return { ...index, ...annotationsOf(options, 'index-descriptor') }
}

function putJson(
  content: ExportWorld['store']['content'],
  document: { readonly mediaType: string } & Readonly<Record<string, unknown>>,
): Promise<Descriptor> {
  return ensureDocument(Buffer.from(JSON.stringify(document)), document.mediaType, content)
}
