/**
 * Garbage of the whole store: blobs that no repository has, and bytes that nobody names.
 *
 * Bytes are removed here and nowhere else by the collector. They always have a session or a record
 * that names them, the session from before the first byte until after the record: so bytes that were
 * listed before the sessions were read, and the sessions before the records, and that neither names,
 * are nobody's.
 */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { blobFrom, firstHolder } from '../blobs.ts'
import {
  allHoldersPrefix,
  blobLinkKey,
  dataPrefix,
  digestFromSharded,
  holdersPrefix,
  nameFromListed,
  recordsPrefix,
  uploadsPrefix,
} from '../keys.ts'
import { listAll, type StoredObject, type Unfinished } from '../object-store.ts'
import { readSession } from '../upload-session.ts'
import { type Collection, sweepUnlessNeeded } from './collection.ts'

export async function collectBlobs(run: Collection): Promise<void> {
  await sweepHints(run)
  for await (const key of listAll(run.storage.objects, recordsPrefix)) {
    const digest = digestFromSharded(key)
    const isNeeded = (record: StoredObject) => hasHolder(run, digest, record)
    await sweepUnlessNeeded(run, { key, isNeeded }, { kind: 'blob', digest })
  }
}

export async function collectBytes(run: Collection): Promise<void> {
  const { objects } = run.storage
  const nobodys = new Set<string>()
  const unfinished: Unfinished[] = []
  for await (const key of listAll(objects, dataPrefix)) nobodys.add(key)
  for await (const object of objects.unfinished(dataPrefix)) unfinished.push(object)
  const written = await writtenKeys(run)
  for (const key of written) nobodys.delete(key)
  await sweepUnfinished(run, unfinished, written)
  for await (const key of listAll(objects, recordsPrefix)) {
    const digest = digestFromSharded(key)
    const record = await objects.get(key)
    const blob = blobFrom(digest, record)
    if (record === undefined || blob === undefined) continue
    // In a dry run its record is still there.
    if (run.dryRun === true && !(await hasHolder(run, digest, record))) continue
    nobodys.delete(blob.key)
  }
  for (const key of nobodys) {
    run.signal?.throwIfAborted()
    const size = (await objects.size(key)) ?? 0
    if (run.dryRun !== true) await objects.delete(key)
    run.onEvent?.({ kind: 'bytes', action: 'remove', size })
  }
}

/** Those that a session names. */
async function writtenKeys({ storage }: Collection): Promise<ReadonlySet<string>> {
  const written = new Set<string>()
  for await (const key of listAll(storage.objects, uploadsPrefix)) {
    const session = await readSession(storage, key.slice(uploadsPrefix.length))
    if (session !== undefined) written.add(session.key)
  }
  return written
}

/** Parts of objects that no session goes on with. */
async function sweepUnfinished(
  run: Collection,
  unfinished: readonly Unfinished[],
  written: ReadonlySet<string>,
): Promise<void> {
  for (const { key, checkpoint } of unfinished) {
    run.signal?.throwIfAborted()
    if (written.has(key) || run.dryRun === true) continue
    await run.storage.objects.discard(key, checkpoint)
  }
}

/** `x/…/<repository>` of repositories that have not the blob any more. */
async function sweepHints(run: Collection): Promise<void> {
  const { objects } = run.storage
  for await (const key of listAll(objects, allHoldersPrefix)) {
    const digest = digestFromSharded(key)
    const repository = nameFromListed(key.slice(key.lastIndexOf('/') + 1))
    const isNeeded = () => hasLink(run, digest, repository)
    await sweepUnlessNeeded(run, { key, isNeeded }, { kind: 'hint', digest })
  }
}

/** Whether a repository has the blob: the one that the record names, or one of a hint. */
async function hasHolder(run: Collection, digest: Digest, record: StoredObject): Promise<boolean> {
  const first = firstHolder(record)
  if (first !== undefined && (await hasLink(run, digest, first))) return true
  const prefix = holdersPrefix(digest)
  for await (const key of listAll(run.storage.objects, prefix)) {
    if (await hasLink(run, digest, nameFromListed(key.slice(prefix.length)))) return true
  }
  return false
}

async function hasLink(
  { storage }: Collection,
  digest: Digest,
  repository: RepositoryName,
): Promise<boolean> {
  return (await storage.objects.size(blobLinkKey(repository, digest))) !== undefined
}
