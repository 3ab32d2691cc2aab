/** Pulling into the store, with progress: for `pull`, and for `run` when the image is missing. */

import { unpackStatus } from '../../builder/transfer-status.ts'
import { unpackImage } from '../../layerfs/image/unpack.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Platform } from '../../oci/platform.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import { type ArrivingImage, type PulledImage, pullImage } from '../../registry/client/pull.ts'
import type { CliContext } from '../command.ts'
import { openProgress } from '../progress/progress.ts'
import { withTransferProgress } from '../progress/transfer-progress.ts'
import type { World } from '../world.ts'

export interface PullRequest {
  readonly reference: Reference
  readonly platform: Platform
  /** `unpacked`: each layer as soon as it is here, while others arrive. */
  readonly layers: 'packed' | 'unpacked'
  readonly progress: 'auto' | 'quiet'
}

/**
 * Gives the pulled image its name and returns what the name points at: an index, where the registry
 * has one. Throws what `pullImage` and `unpackImage` throw; the name is then as it was.
 */
export async function pullIntoStore(
  world: World,
  request: PullRequest,
  context: CliContext,
): Promise<Descriptor> {
  const pulled = await pullBlobs(world, request, context)
  const target = pulled.indexes[0]?.descriptor ?? pulled.descriptor
  await world.store.images.set({ reference: request.reference, target })
  return target
}

/** The same without a name. */
export async function pullBlobs(
  { store, registry }: World,
  { reference, platform, layers, progress: mode }: PullRequest,
  context: CliContext,
): Promise<PulledImage> {
  const { signal } = context
  using progress = openProgress({ mode, title: 'Pulling' }, context)
  const unpack = ({ manifest, config, ...ways }: ArrivingImage) =>
    unpackImage({ manifest, config }, store, {
      ...ways,
      onEvent: unpackStatus(vertex.id, progress.emit),
    })
  const vertex = { id: 'pull', name: `pulling ${formatReference(reference)}`, signal }
  return await withTransferProgress(progress.emit, vertex, onEvent =>
    pullImage(registry, reference, {
      platform,
      into: store.content,
      layers: 'all',
      onEvent,
      ...(layers === 'unpacked' ? { use: unpack } : {}),
      signal,
    }),
  )
}
