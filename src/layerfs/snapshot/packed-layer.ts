/**
 * Packed layers: those that were made as a tar and that nobody has looked into yet.
 *
 *   snapshots/<chain hex>/layer.tar ──somebody asks for the directory──► beside it, fs
 *
 * 1. The tar stays: it is what an output sends, and what `fs` can be made of again.
 * 2. `fs` is there whole or not at all, and has the digest that the layer is named after.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type ChainId, hexOf, parseDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { withLock } from '../content/file-lock.ts'
import { treeOf } from '../layer/copied-tree.ts'
import { openUnpackPool } from '../layer/unpack-pool.ts'
import { openOwned } from './owned-directory.ts'
import type { SnapshotInfo } from './snapshotter.ts'
import type { Trash } from './trash.ts'

const fileName = 'layer.tar'

/** Where the tar of the layer is that has this directory. */
export function tarIn(directory: string): string {
  return join(directory, fileName)
}

/** `undefined` for a layer that is a directory and no more. */
export function findTarIn(directory: string): string | undefined {
  const tar = tarIn(directory)
  return existsSync(tar) ? tar : undefined
}

/** What is kept of a layer: its directory, if only somebody asked for it, or the tar. */
export function keptIn(directory: string): string {
  const layer = join(directory, 'fs')
  return existsSync(layer) ? layer : (findTarIn(directory) ?? layer)
}

/** Paths of what the tar in this directory can be made into again: none without a tar. */
export function madeOfTarIn(directory: string): string[] {
  const layer = join(directory, 'fs')
  return findTarIn(directory) === undefined ? [] : [layer, treeOf(layer)]
}

export interface PackedPlace {
  /** The snapshot's. */
  readonly directory: string
  /** Directories of the layers below, **top first**. */
  readonly lower: readonly string[]
  /** Where layers are that are being written, where locks are, and where goes what is left of them. */
  readonly active: string
  readonly locks: string
  readonly trash: Trash
}

/**
 * Makes the directory of a layer that is packed; of another, and where it is made, nothing. Throws
 * `digest-mismatch` for a tar that was damaged.
 */
export async function unpackKept(
  { name, diffId }: SnapshotInfo,
  place: PackedPlace,
): Promise<void> {
  const { directory, lower } = place
  const layer = join(directory, 'fs')
  if (existsSync(layer)) return
  const tar = findTarIn(directory)
  if (tar === undefined) return
  await withLock(join(place.locks, `fs-${hexOf(name)}`), 'exclusive', async () => {
    if (existsSync(layer)) return
    await using owned = await openOwned(place.active, place.trash)
    const target = join(owned.path, 'fs')
    mkdirSync(target)
    await using pool = openUnpackPool(1)
    const digest = parseDigest(diffId)
    const expected = { digest, size: statSync(tar).size, diffId }
    const request = { blob: tar, target, expected, lower: async () => lower }
    await pool.apply(request).catch((error: unknown) => tellDamage(name, error))
    renameSync(target, layer)
    // It takes more of the disk now.
    rmSync(join(directory, 'bytes'), { force: true })
  })
}

function tellDamage(name: ChainId, cause: unknown): never {
  if (!(cause instanceof OciError) || cause.code !== 'digest-mismatch') throw cause
  throw new OciError('digest-mismatch', `Cannot unpack snapshot ${name}: its tar is damaged`, {
    cause,
    hint: 'run "tsbuild fsck --repair", and build again',
  })
}
