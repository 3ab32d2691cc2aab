/**
 * Outputs: what becomes of a build. Any number of them, from one result.
 *
 * Reference: builder.md §2.2, Exporters.
 */
import { mkdir } from 'node:fs/promises'
import { exportArchive, exportLayout } from '../../layerfs/image/export-image.ts'
import { unreachable } from '../../oci/errors.ts'
import type { Reference } from '../../oci/reference.ts'
import { formatReference } from '../../oci/reference.ts'
import { pushImage } from '../../registry/client/push.ts'
import type { BuildResult } from '../build.ts'
import type { BuildWorld } from '../build-request.ts'
import { transferStatus } from '../transfer-status.ts'
import { vertex } from '../vertex.ts'
import { copyRootfs, rootfsTar } from './rootfs.ts'
import { type WrittenImage, writeImage } from './write-image.ts'

/** Takes the bytes of a file; leaves nothing when they end with an error or the signal aborts. */
export type Sink = (chunks: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<void>

export type Output =
  /** In the store, under its names; without any, by its ID alone. */
  | { readonly kind: 'image'; readonly names: readonly Reference[] }
  | { readonly kind: 'registry'; readonly names: readonly Reference[] }
  | {
      readonly kind: 'archive'
      readonly format: 'oci' | 'docker'
      readonly names: readonly Reference[]
      readonly sink: Sink
    }
  | { readonly kind: 'layout'; readonly directory: string; readonly names: readonly Reference[] }
  | { readonly kind: 'local'; readonly directory: string }
  | { readonly kind: 'tar'; readonly sink: Sink }

type ImageOutput = Exclude<Output, { kind: 'local' | 'tar' }>

/** `undefined` when no output wants an image. */
export async function exportResult(
  result: BuildResult,
  outputs: readonly Output[],
  world: BuildWorld,
): Promise<WrittenImage | undefined> {
  const imageOutputs = outputs.filter((output): output is ImageOutput => !isRootfs(output))
  const image = imageOutputs.length === 0 ? undefined : await exportLayers(result, world)
  for (const output of outputs) {
    if (isRootfs(output)) await exportRootfs(output, result, world)
    else if (image !== undefined) await exportImage(output, image, world)
  }
  return image
}

function isRootfs(output: Output): output is Extract<Output, { kind: 'local' | 'tar' }> {
  return output.kind === 'local' || output.kind === 'tar'
}

async function exportLayers(result: BuildResult, world: BuildWorld): Promise<WrittenImage> {
  return vertex('exporting to image', world.emit, async id => {
    const status = (item: string, isDone: boolean) =>
      world.emit({ kind: 'status', id, item, current: 0, isDone })
    status('exporting layers', false)
    const image = await writeImage(result, world.store, world.signal)
    status('exporting layers', true)
    status(`exporting manifest ${image.descriptor.digest}`, true)
    status(`exporting config ${image.config.digest}`, true)
    return image
  })
}

async function exportRootfs(
  output: Extract<Output, { kind: 'local' | 'tar' }>,
  result: BuildResult,
  world: BuildWorld,
): Promise<void> {
  await vertex(`exporting to ${output.kind}`, world.emit, async () => {
    if (output.kind === 'tar') return output.sink(rootfsTar(result, world), world.signal)
    await mkdir(output.directory, { recursive: true })
    await copyRootfs(result, output.directory, world)
  })
}

async function exportImage(
  output: ImageOutput,
  image: WrittenImage,
  world: BuildWorld,
): Promise<void> {
  switch (output.kind) {
    case 'image':
      return nameImage(output.names, image, world)
    case 'registry':
      return push(output.names, image, world)
    case 'archive': {
      const { format, names, sink } = output
      return vertex(`exporting to ${format} archive`, world.emit, () =>
        sink(exportArchive({ ...exportRequest(names, image, world), format }), world.signal),
      )
    }
    case 'layout':
      return vertex('exporting to oci layout', world.emit, () =>
        exportLayout(output.directory, {
          ...exportRequest(output.names, image, world),
          format: 'oci',
        }),
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
  names: readonly Reference[],
  { descriptor: root }: WrittenImage,
  world: BuildWorld,
): Promise<void> {
  const { client, store, emit, signal } = world
  for (const reference of names) {
    await vertex(`pushing ${formatReference(reference)}`, world.emit, async id => {
      const onEvent = transferStatus(id, emit)
      await pushImage(client, reference, { root, from: store.content, onEvent, signal })
    })
  }
}
