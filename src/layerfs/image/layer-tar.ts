/** The tar of a snapshot's topmost layer: as it was made, or of its files. */
import { createReadStream } from 'node:fs'
import { field } from '../../oci/json.ts'
import { comparedWith, type SnapshotInfo, type Snapshotter } from '../snapshot/snapshotter.ts'

/** The tar of the changes from `lower` (top first) to `upper`: layer/diff.ts. */
export type LayerDiff = (layer: {
  readonly upper: string
  readonly lower: readonly string[]
  readonly clampTo?: number
}) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>

export interface TarPlace {
  readonly snapshots: Pick<Snapshotter, 'layers' | 'packedTar'>
  readonly diff: LayerDiff
  /** Seconds since 1970 that no file of it is to be later than; absent: as they are. */
  readonly clampTo?: number
}

/** At a time. */
const chunkSize = 512 * 1024

/** Throws `not-found` without such a snapshot. */
export async function layerTar(
  info: Pick<SnapshotInfo, 'name' | 'whole'>,
  { snapshots, diff, clampTo }: TarPlace,
): Promise<ReturnType<LayerDiff>> {
  const packed = clampTo === undefined ? await snapshots.packedTar(info.name) : undefined
  if (packed !== undefined) return createReadStream(packed, { highWaterMark: chunkSize })
  const [upper = '', ...below] = await snapshots.layers(info.name)
  return diff({ upper, lower: comparedWith(info, below), ...field('clampTo', clampTo) })
}
