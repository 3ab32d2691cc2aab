/**
 * Outputs: what becomes of a build. Any number of them, from one result per platform.
 *
 * Reference: builder.md §2.2, Exporters.
 */
import { exportArchive, exportLayout } from '../../layerfs/image/export-image.ts'
import { unreachable } from '../../oci/errors.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import { pushImage } from '../../registry/client/push.ts'
import { firstOf } from '../../registry/client/registry-blobs.ts'
import type { BuildWorld } from '../build-request.ts'
import type { BuildResult } from '../build-result.ts'
import { transferStatus } from '../transfer-status.ts'
import { vertex } from '../vertex.ts'
import { type Engine, loadIntoEngine } from './docker-engine.ts'
import { changesLayers, type ImageOptions } from './image-options.ts'
import { copyFiles, filesTar } from './rootfs.ts'
import { type WriteOptions, type WrittenImage, writeImage } from './write-image.ts'

/** Takes the bytes of a file; leaves nothing when they end with an error or the signal aborts. */
export type Sink = (chunks: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<void>

/** Of an image: how it is called, and how it is written. */
interface Named {
  readonly names: readonly Reference[]
  readonly options: ImageOptions
}

export type ImageOutput =
  /** In the store, under its names; without any, by its ID alone. */
  | (Named & { readonly kind: 'image' })
  /** `byDigest`: no tag is set; the names are repositories. */
  | (Named & { readonly kind: 'registry'; readonly byDigest: boolean })
  | (Named & { readonly kind: 'archive'; readonly format: 'oci' | 'docker'; readonly sink: Sink })
  | (Named & { readonly kind: 'layout'; readonly directory: string })
  /** Into a Docker engine: `unix:///var/run/docker.sock`. */
  | (Named & Engine & { readonly kind: 'engine' })

/** `platformSplit`: a directory per platform also when there is one only. */
export type FilesOutput =
  | { readonly kind: 'local'; readonly directory: string; readonly platformSplit: boolean }
  | { readonly kind: 'tar'; readonly sink: Sink; readonly platformSplit: boolean }

export type Output = ImageOutput | FilesOutput

/** See `WriteOptions`. */
type ImageWorld = BuildWorld & Pick<WriteOptions, 'asIndex' | 'inlineCache'>

/**
 * `results`: one per platform. The image of the first output that wants one; `undefined` when none
 * does.
 */
export async function exportResults(
  results: readonly BuildResult[],
  outputs: readonly Output[],
  world: ImageWorld,
): Promise<WrittenImage | undefined> {
  const written = new Map<string, WrittenImage>()
  for (const result of needsLayersHere(outputs) ? results : []) {
    await result.filesystems.fetchLayers(result.layers, world.signal)
  }
  for (const output of outputs) {
    if (isFiles(output)) {
      await exportFiles(output, results, world)
      continue
    }
    const key = JSON.stringify(output.options)
    const image = written.get(key) ?? (await exportLayers(results, output.options, world))
    written.set(key, image)
    await exportImage(output, image, { ...world, results })
  }
  return [...written.values()][0]
}

/**
 * A push sends a base's layers from where they are; so may a name in the store whose image is
 * pushed: whoever runs it pulls what is missing.
 */
function needsLayersHere(outputs: readonly Output[]): boolean {
  const pushed = new Set(
    outputs.flatMap(output =>
      output.kind === 'registry' && !output.byDigest ? output.names.map(formatReference) : [],
    ),
  )
  return outputs.some(output => {
    if (isFiles(output) || output.kind === 'registry') return false
    if (output.kind !== 'image') return true
    return (
      output.names.length === 0 || !output.names.every(name => pushed.has(formatReference(name)))
    )
  })
}

function isFiles(output: Output): output is FilesOutput {
  return output.kind === 'local' || output.kind === 'tar'
}

async function exportLayers(
  results: readonly BuildResult[],
  options: ImageOptions,
  world: ImageWorld,
): Promise<WrittenImage> {
  const { emit, asIndex, inlineCache } = world
  if (inlineCache && changesLayers(options)) {
    const message = 'the image carries no cache: its layers are not as its steps made them'
    emit({ kind: 'warning', message })
  }
  return vertex('exporting to image', emit, async id => {
    const status = (item: string, isDone: boolean) =>
      emit({ kind: 'status', id, item, current: 0, isDone })
    status('exporting layers', false)
    const image = await writeImage(results, { ...options, asIndex, inlineCache }, world)
    status('exporting layers', true)
    for (const { descriptor, config } of image.manifests) {
      status(`exporting manifest ${descriptor.digest}`, true)
      status(`exporting config ${config.digest}`, true)
    }
    const isIndex = image.manifests[0]?.descriptor !== image.descriptor
    if (isIndex) status(`exporting manifest list ${image.descriptor.digest}`, true)
    return image
  })
}

async function exportFiles(
  output: FilesOutput,
  results: readonly BuildResult[],
  world: BuildWorld,
): Promise<void> {
  const isSplit = output.platformSplit || results.length > 1
  await vertex(`exporting to ${output.kind}`, world.emit, async () => {
    if (output.kind === 'tar') {
      return output.sink(filesTar(results, { isSplit }, world), world.signal)
    }
    await copyFiles(results, { isSplit, directory: output.directory }, world)
  })
}

interface ExportWorld extends BuildWorld {
  readonly results: readonly BuildResult[]
}

async function exportImage(
  output: ImageOutput,
  image: WrittenImage,
  world: ExportWorld,
): Promise<void> {
  const { emit, signal } = world
  const request = exportRequest(output.names, image, world)
  switch (output.kind) {
    case 'image':
      return nameImage(output.names, image, world)
    case 'registry':
      return push(output, image, world)
    case 'archive': {
      const { format, sink } = output
      return vertex(`exporting to ${format} archive`, emit, () =>
        sink(exportArchive({ ...request, format }), signal),
      )
    }
    case 'layout':
      return vertex('exporting to oci layout', emit, () =>
        exportLayout(output.directory, { ...request, format: 'oci' }),
      )
    case 'engine':
      return vertex('importing to docker', emit, () =>
        loadIntoEngine(output, exportArchive({ ...request, format: 'docker' }), signal),
      )
    default:
      return unreachable(output)
  }
}

function exportRequest(
  names: readonly Reference[],
  { descriptor: target }: WrittenImage,
  { store: { content } }: BuildWorld,
) {
  const images = names.length === 0 ? [{ target }] : names.map(reference => ({ reference, target }))
  return { images, content }
}

async function nameImage(
  names: readonly Reference[],
  { descriptor: target }: WrittenImage,
  { store, emit }: BuildWorld,
): Promise<void> {
  if (names.length === 0) await store.images.set({ target })
  for (const reference of names) {
    await vertex(`naming to ${formatReference(reference)}`, emit, () =>
      store.images.set({ reference, target }),
    )
  }
}

async function push(
  { names, byDigest }: Extract<ImageOutput, { kind: 'registry' }>,
  { descriptor: root }: WrittenImage,
  { client, store, emit, signal, results }: ExportWorld,
): Promise<void> {
  const known = results.map(({ filesystems }) => filesystems)
  const from = firstOf(store.content, ...known.map(({ blobs }) => blobs))
  for (const reference of names) {
    const { registry, repository } = reference
    const target = byDigest ? { registry, repository, digest: root.digest } : reference
    await vertex(`pushing ${formatReference(target)}`, emit, async id => {
      const onEvent = transferStatus(id, emit)
      const mountFrom = new Map(known.flatMap(one => [...one.mountFrom(registry)]))
      await pushImage(client, target, { root, from, mountFrom, onEvent, signal })
    })
  }
}
