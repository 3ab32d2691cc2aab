/**
 * Whether an unpacked layer's files are still those of the layer.
 *
 * A layer that was made here gives the tar it is named after, byte for byte. One that came from
 * elsewhere was packed by another program: it is unpacked once more beside it, from its blob, and
 * both have to give the same tar.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type DiffId, type Digest, finishDiffId } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { hashDiff } from '../layer/diff.ts'
import { openUnpackPool } from '../layer/unpack-pool.ts'
import { comparedWith, type SnapshotInfo } from '../snapshot/snapshotter.ts'
import type { Store } from '../store.ts'
import { type LayerRecord, readLayerRecords } from './layer-records.ts'

/**
 * What is wrong with them, in words; `undefined` also where nobody can tell: the blob is gone, or is
 * one of `damaged`, and the layer was not made here.
 */
export async function filesFault(
  info: SnapshotInfo,
  store: Store,
  damaged: ReadonlySet<Digest>,
): Promise<string | undefined> {
  const fault = 'its files are not those of the layer'
  const tar = await store.snapshots.packedTar(info.name)
  if (tar !== undefined && (await diffIdOfTar(tar)) !== info.diffId) return fault
  const [kept] = await store.snapshots.kept(info.name)
  // Nobody has asked for its directory yet.
  if (tar !== undefined && kept === tar) return undefined
  const [upper = '', ...below] = await store.snapshots.layers(info.name)
  const lower = comparedWith(info, below)
  const clamp = info.clampTo === undefined ? {} : { clampTo: info.clampTo }
  const found = await diffIdOf({ upper, lower, ...clamp })
  if (found === info.diffId) return undefined
  const records = await readLayerRecords(join(store.root, 'layers'), info.diffId)
  const received = records.filter(({ origin }) => origin === 'received')
  if (received.length === 0) return fault
  const blob = await soundBlob(received, store, damaged)
  if (blob === undefined) return undefined
  const expected = await diffIdOfBlob(blob, { info, lower, store })
  return expected === found || expected === undefined ? undefined : fault
}

async function diffIdOfTar(path: string): Promise<DiffId> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return finishDiffId(hash)
}

/** `undefined` for files that make no tar: changed by hand. */
async function diffIdOf(request: Parameters<typeof hashDiff>[0]): Promise<DiffId | undefined> {
  try {
    return (await hashDiff(request)).diffId
  } catch (error) {
    if (hasCode(error, 'unsupported')) return undefined
    throw error
  }
}

async function soundBlob(
  records: readonly LayerRecord[],
  { content }: Store,
  damaged: ReadonlySet<Digest>,
): Promise<Descriptor | undefined> {
  for (const { descriptor } of records) {
    const blob = await content.find(descriptor.digest)
    if (blob?.size === descriptor.size && !damaged.has(blob.digest)) return descriptor
  }
  return undefined
}

interface Unpacking {
  readonly info: SnapshotInfo
  readonly lower: readonly string[]
  readonly store: Store
}

async function diffIdOfBlob(
  { digest, size }: Descriptor,
  { info, lower, store }: Unpacking,
): Promise<DiffId | undefined> {
  await using staged = await store.snapshots.stage()
  await using pool = openUnpackPool(1)
  try {
    await pool.apply({
      blob: store.content.pathOf(digest),
      target: staged.upper,
      expected: { digest, size, diffId: info.diffId },
      lower: async () => lower,
    })
  } catch (error) {
    // The blob is not the layer's: that says nothing about the files.
    if (hasCode(error, 'digest-mismatch') || hasCode(error, 'not-found')) return undefined
    throw error
  }
  return diffIdOf({ upper: staged.upper, lower })
}
