/**
 * `meta.json`: what a committed snapshot's directory says about itself.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ChainId, chainId, parseChainId, parseDiffId } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { asString, field, member, optional, parseJson } from '../../oci/json.ts'
import { ignoreMissing, writeFileAtomic } from '../content/atomic-file.ts'
import type { SnapshotInfo } from './snapshotter.ts'

const fileName = 'meta.json'

export async function writeSnapshotRecord(directory: string, info: SnapshotInfo): Promise<void> {
  const { name, parent, diffId } = info
  const text = `${JSON.stringify({ name, ...field('parent', parent), diffId })}\n`
  await writeFileAtomic(join(directory, fileName), text, { durability: 'unsynced' })
}

/** `undefined` for a directory without a record, or with a damaged one: it is no snapshot. */
export async function findSnapshotRecord(directory: string): Promise<SnapshotInfo | undefined> {
  const bytes = await readFile(join(directory, fileName)).catch(ignoreMissing)
  if (bytes === undefined) return undefined
  try {
    return parseSnapshotRecord(bytes)
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
