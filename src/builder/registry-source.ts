/** A repository as a {@link BlobSource}. */
import { fetchBlob } from '../registry/client/blob.ts'
import type { RegistryClient } from '../registry/client/client.ts'
import { pullBlobs } from '../registry/client/pull.ts'
import type { Repository } from '../registry/client/request.ts'
import type { BlobSource } from './filesystems.ts'

/** Downloads go on where an earlier one, of any process, stopped. */
export function registrySource(
  client: RegistryClient,
  { registry, repository }: Repository,
): BlobSource & { readonly at: Repository } {
  const at = { registry, repository }
  return {
    at,
    fetch: (blobs, into, options) => pullBlobs(client, at, { blobs, into, ...options }),
    open: descriptor => fetchBlob(client, at, { descriptor }),
  }
}
