/**
 * Which blobs hold a layer: `layers/<diff ID hex>.json`.
 *
 * One layer can be in the store compressed in several ways. A record only remembers: whether the
 * blob is still there is for the reader to check.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Descriptor, descriptorFrom } from '../../oci/descriptor.ts'
import { type DiffId, hexOf } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { asArray, asString, member, parseJson } from '../../oci/json.ts'
import { writeFileAtomic } from '../content/atomic-file.ts'
import { withLock } from '../content/file-lock.ts'
import { filesIn, readOwnBytes } from '../content/own-files.ts'

export interface LayerRecord {
  /** `received` from a registry or an archive, or `made` here from a snapshot. */
  readonly origin: 'received' | 'made'
  readonly descriptor: Descriptor
}

/** Latest first; none when there is no record, or a damaged one. */
export async function readLayerRecords(directory: string, diffId: DiffId): Promise<LayerRecord[]> {
  const bytes = readOwnBytes(pathOf(directory, diffId))
  if (bytes === undefined) return []
  try {
    return asArray(parseJson('layer record', bytes)).map(node => ({
      origin: asString(member(node, 'origin')) === 'received' ? 'received' : 'made',
      descriptor: descriptorFrom(member(node, 'descriptor')),
    }))
  } catch (error) {
    if (hasCode(error, 'invalid')) return []
    throw error
  }
}

/** Where records are, and what makes those who add to one come one by one. */
export interface LayerRecords {
  readonly directory: string
  readonly locks: string
}

export async function addLayerRecord(
  place: LayerRecords,
  diffId: DiffId,
  record: LayerRecord,
): Promise<void> {
  const lock = join(place.locks, `record-${hexOf(diffId)}`)
  await withLock(lock, 'exclusive', () => addRecord(place.directory, diffId, record))
}

async function addRecord(directory: string, diffId: DiffId, record: LayerRecord): Promise<void> {
  const records = await readLayerRecords(directory, diffId)
  const { digest } = record.descriptor
  const others = records.filter(({ descriptor }) => descriptor.digest !== digest)
  if (others.length < records.length && records[0]?.descriptor.digest === digest) return
  const text = JSON.stringify([record, ...others])
  await writeFileAtomic(pathOf(directory, diffId), text, { durability: 'unsynced' })
}

/** Removes all records but those of `layers`. */
export async function removeOtherRecords(
  directory: string,
  layers: ReadonlySet<DiffId>,
): Promise<void> {
  const kept = new Set([...layers].map(layer => pathOf(directory, layer)))
  for (const name of filesIn(directory)) {
    const path = join(directory, name)
    if (!kept.has(path)) await rm(path, { force: true })
  }
}

function pathOf(directory: string, diffId: DiffId): string {
  return join(directory, `${hexOf(diffId)}.json`)
}
