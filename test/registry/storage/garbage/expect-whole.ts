/** What must be so when the actors of a schedule have come to their end. */
import { type Digest, digestOf } from '../../../../src/oci/digest.ts'
import { parseTag, type RepositoryName } from '../../../../src/oci/reference.ts'
import { findBlob, openBlob, type StoredBlob } from '../../../../src/registry/storage/blobs.ts'
import { readManifest } from '../../../../src/registry/storage/manifests.ts'
import { listAll } from '../../../../src/registry/storage/object-store.ts'
import type { RegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { listRepositories } from '../../../../src/registry/storage/repositories.ts'
import type { Content } from '../../server/contents.ts'

/** A manifest that a client was told is stored. */
export interface Acknowledged {
  readonly repository: RepositoryName
  readonly manifest: Content
  readonly tag: string | undefined
  readonly blobs: readonly Digest[]
}

/** What was acknowledged is there, with all its blobs. */
export async function expectWhole(
  storage: RegistryStorage,
  acknowledged: readonly Acknowledged[],
): Promise<void> {
  for (const { manifest, tag, blobs, repository } of acknowledged) {
    const found = await readManifest(storage, repository, {
      kind: 'digest',
      digest: manifest.digest,
    })
    if (!manifest.bytes.equals(found.bytes)) throw new Error('other bytes')
    if (tag !== undefined)
      await readManifest(storage, repository, { kind: 'tag', tag: parseTag(tag) })
    for (const digest of blobs) {
      const blob = await findBlob(storage, repository, digest)
      if (blob === undefined || !(await isPulled(storage, blob)))
        throw new Error(`missing ${digest}`)
    }
    const listed = await listRepositories(storage, { last: '', max: 10 })
    if (!listed.includes(repository)) throw new Error('not in the catalog')
  }
}

/** As a client gets it. */
async function isPulled(storage: RegistryStorage, blob: StoredBlob): Promise<boolean> {
  const chunks: Uint8Array[] = []
  for await (const chunk of await openBlob(storage, blob)) chunks.push(chunk)
  return digestOf(Buffer.concat(chunks)) === blob.digest
}

/** With all time passed, nothing is left that no manifest leads to, except sessions of the dead. */
export async function expectNoGarbage(storage: RegistryStorage): Promise<void> {
  const all = async (prefix: string) => {
    const keys: string[] = []
    for await (const key of listAll(storage.objects, prefix)) keys.push(key)
    return keys
  }
  const sessions = await all('u/')
  const manifests = (await all('r/')).filter(key => key.includes('/_m/'))
  if (manifests.length > 0 || sessions.length > 0) return
  for (const prefix of ['b/', 'd/', 'x/', 'c/']) {
    const left = await all(prefix)
    if (left.length > 0) throw new Error(`Left over: ${left}`)
  }
}
