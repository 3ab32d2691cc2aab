/** What the manifests of a repository refer to: read once per digest, because it never changes. */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName } from '../../../oci/reference.ts'
import { manifestKey, repositoryPrefix } from '../keys.ts'
import { parseManifestDocument } from '../manifest-document.ts'
import { listAll } from '../object-store.ts'
import { findManifest, type ManifestVersion } from '../stored-manifest.ts'
import type { Collection, Seen } from './collection.ts'

export interface ManifestNode extends Seen {
  readonly digest: Digest
  readonly blobs: readonly Digest[]
  readonly children: readonly Digest[]
  readonly subject: Digest | undefined
  /** Pulled from an upstream. */
  readonly isCopy: boolean
}

export type ManifestNodes = ReadonlyMap<Digest, ManifestNode>

/**
 * The manifests that are there now. Those that `before` has are not read again: they are as they
 * were seen then. `undefined` when one of them cannot be read, so nobody knows what it refers to.
 */
export async function readManifests(
  run: Collection,
  repository: RepositoryName,
  before: ManifestNodes = new Map(),
): Promise<Map<Digest, ManifestNode> | undefined> {
  const { storage } = run
  const prefix = repositoryPrefix(repository, '_m')
  const nodes = new Map<Digest, ManifestNode>()
  for await (const key of listAll(storage.objects, prefix)) {
    run.signal?.throwIfAborted()
    const digest = key.slice(prefix.length) as Digest
    const known = before.get(digest)
    if (known !== undefined) {
      nodes.set(digest, known)
      continue
    }
    const version = await findManifest(storage, repository, digest)
    if (version !== undefined) nodes.set(digest, nodeFrom(repository, version))
    else if ((await storage.objects.size(key)) !== undefined) return undefined
  }
  return nodes
}

function nodeFrom(repository: RepositoryName, version: ManifestVersion): ManifestNode {
  const { digest, etag, condemnedAt, pushedAt, subject, upstream } = version
  const { references } = parseManifestDocument(version.bytes, version.mediaType)
  const named = (kind: 'blob' | 'manifest') =>
    references.flatMap(reference => (reference.kind === kind ? [reference.digest] : []))
  return {
    key: manifestKey(repository, digest),
    etag,
    condemnedAt,
    since: pushedAt,
    digest,
    blobs: named('blob'),
    children: named('manifest'),
    subject,
    isCopy: upstream !== undefined,
  }
}
