/**
 * `meta.json`: what a committed snapshot's directory says about itself.
 */
import { join } from 'node:path'
import { type ChainId, chainId, parseChainId, parseDiffId } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { asBoolean, asSize, asString, field, member, optional, parseJson } from '../../oci/json.ts'
import { writeFileAtomic } from '../content/atomic-file.ts'
import { readOwnBytes } from '../content/own-files.ts'
import type { SnapshotInfo } from './snapshotter.ts'

const fileName = 'meta.json'

export async function writeSnapshotRecord(directory: string, info: SnapshotInfo): Promise<void> {
  const text = `${JSON.stringify(info)}\n`
  await writeFileAtomic(join(directory, fileName), text, { durability: 'unsynced' })
}

/**
 * `undefined` for a directory without a record, or with a damaged one: it is no snapshot.
 *
 * Synchronous, because a stack of layers is read one by one: a trip to the thread pool takes some
 * ten times as long as the read.
 */
export function findSnapshotRecord(directory: string): SnapshotInfo | undefined {
  try {
    const bytes = readOwnBytes(join(directory, fileName))
    return bytes === undefined ? undefined : parseSnapshotRecord(bytes)
  } catch (error) {
    if (hasCode(error, 'invalid')) return undefined
    throw error
  }
}

/** Throws `invalid`, also for a record that contradicts itself. */
function parseSnapshotRecord(bytes: Uint8Array): SnapshotInfo {
  const node = parseJson('snapshot record', bytes)
  const parent: ChainId | undefined = optional(member(node, 'parent'), value =>
    parseChainId(asString(value)),
  )
  const info: SnapshotInfo = {
    name: parseChainId(asString(member(node, 'name'))),
    ...field('parent', parent),
    diffId: parseDiffId(asString(member(node, 'diffId'))),
    ...field('clampTo', optional(member(node, 'clampTo'), asSize)),
    ...field('whole', optional(member(node, 'whole'), asBoolean)),
  }
  assertConsistent(info)
  return info
}

/** Throws `invalid` when the name is not the chain ID of parent and layer. */
export function assertConsistent(info: SnapshotInfo): void {
  const expected = chainId(info.parent, info.diffId)
  if (info.name === expected) return
  throw new OciError(
    'invalid',
    `Cannot name snapshot "${info.name}": the chain ID of its layers is "${expected}"`,
  )
}
