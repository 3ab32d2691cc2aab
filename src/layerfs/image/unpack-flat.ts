/**
 * An image's files as a plain directory: for chroots, for other tools, for looking around.
 */
import { readdir } from 'node:fs/promises'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type ChainId, chainIds, type DiffId } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { makeDirectory } from '../content/atomic-file.ts'
import type { ContentStore } from '../content/content-store.ts'
import { openUnpackPool } from '../layer/unpack-pool.ts'
import type { Snapshotter } from '../snapshot/snapshotter.ts'
import type { LayerBlobs } from './layer-blobs.ts'
import { aboutLayer, type UnpackEvent, type UnpackedImage } from './unpack.ts'

export interface FlatPlace {
  readonly content: ContentStore
  readonly snapshots: Pick<Snapshotter, 'find'>
  readonly layers: Pick<LayerBlobs, 'layerBlob'>
}

export interface FlatOptions {
  /** `empty`: the directory must be empty or missing; `any`: what is in it stays below the image. */
  readonly target: 'empty' | 'any'
  readonly signal?: AbortSignal
  readonly onEvent?: (event: UnpackEvent) => void
}

/**
 * The image's files in `directory`, with their owners, modes, times and attributes. Throws
 * `conflict` for a directory that is not empty, `not-found` for a layer that is not in the store,
 * and what `applyLayer` throws; what was written until then stays.
 */
export async function unpackFlat(
  image: UnpackedImage,
  directory: string,
  { place, ...options }: FlatOptions & { readonly place: FlatPlace },
): Promise<void> {
  const layers = layersOf(image)
  const blobs: Descriptor[] = []
  for (const layer of layers) blobs.push(await blobOf(layer, place))
  makeDirectory(directory)
  if (options.target === 'empty') await assertEmpty(directory)
  await using pool = openUnpackPool(1)
  for (const [i, { diffId, descriptor }] of layers.entries()) {
    const { digest, size } = blobs[i] ?? descriptor
    options.onEvent?.({ kind: 'unpacking', layer: descriptor })
    const expected = { digest, size, diffId }
    const request = { blob: place.content.pathOf(digest), target: directory, expected }
    await pool.applyFlat(request, options.signal).catch(aboutLayer(digest))
    options.onEvent?.({ kind: 'unpacked', layer: descriptor })
  }
}

interface Layer {
  readonly descriptor: Descriptor
  readonly diffId: DiffId
  readonly chain: ChainId
}

function layersOf({ manifest, config }: UnpackedImage): Layer[] {
  const diffIds = config.rootfs.diff_ids
  const chains = chainIds(diffIds)
  return manifest.layers.map((descriptor, i) => {
    const diffId = diffIds[i]
    const chain = chains[i]
    if (diffId === undefined || chain === undefined || diffIds.length !== manifest.layers.length) {
      throw new OciError(
        'invalid',
        `Cannot unpack image: its manifest has ${manifest.layers.length} layers, its config ${diffIds.length}`,
      )
    }
    return { descriptor, diffId, chain }
  })
}

/** A layer that is there as files only is made into a blob again. */
async function blobOf({ descriptor, chain }: Layer, place: FlatPlace): Promise<Descriptor> {
  if ((await place.content.find(descriptor.digest)) !== undefined) return descriptor
  if ((await place.snapshots.find(chain)) !== undefined) return place.layers.layerBlob(chain)
  throw new OciError('not-found', `Cannot unpack layer ${descriptor.digest}: not in the store`, {
    hint: 'pull the image again',
  })
}

async function assertEmpty(directory: string): Promise<void> {
  if ((await readdir(directory)).length === 0) return
  throw new OciError('conflict', `Cannot unpack into "${printable(directory)}": it is not empty`, {
    hint: 'use another directory, or --force to unpack over what is there',
  })
}
