/** What a registry's content is copied from: ours (here), or another's (distribution-source.ts). */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../../oci/reference.ts'
import { findBlob, openBlob } from '../blobs.ts'
import { catalogPrefix, nameFromListed, repositoryPrefix, tagKey } from '../keys.ts'
import { listAll } from '../object-store.ts'
import type { RegistryStorage } from '../registry-storage.ts'
import { findManifest } from '../stored-manifest.ts'
import { findTag, listTags } from '../tags.ts'

/** A blob that is there, by its size at least. */
export interface SourceBlob {
  readonly size: number
  /** Throws `not-found` when it is gone meanwhile. */
  open(): Promise<AsyncIterable<Uint8Array>>
}

export interface SourceManifest {
  readonly bytes: Uint8Array
  /** Empty when only the bytes can say. */
  readonly mediaType: string
}

export interface SourceTag {
  readonly tag: Tag
  readonly digest: Digest
  /** Milliseconds since 1970; absent where nobody knows. */
  readonly pushedAt?: number | undefined
  /** The object as we store it, when it is from a store of ours. */
  readonly object?: Uint8Array
}

/** An object of another key layout's history, to be stored under the same key. */
export interface SourceObject {
  readonly key: string
  readonly bytes: Uint8Array
}

/** What is wrong with something at the source, in words: `layer link sha256:…`, `it is empty`. */
export interface SourceFault {
  readonly what: string
  readonly reason: string
  /** It could be made good from what else is there; else it is left out. */
  readonly isMended: boolean
}

export interface CopySource {
  /** Told of what is wrong as it is found. */
  repositories(onFault: (name: string, fault: SourceFault) => void): AsyncIterable<RepositoryName>
  /** Digests that the repository has as blobs. */
  blobs(repository: RepositoryName): AsyncIterable<Digest>
  /** `undefined` when the repository has no such blob, or its bytes are missing. */
  findBlob(
    repository: RepositoryName,
    digest: Digest,
    onFault: (fault: SourceFault) => void,
  ): Promise<SourceBlob | undefined>
  manifests(repository: RepositoryName): AsyncIterable<Digest>
  /** `undefined` when its bytes are missing or damaged. */
  findManifest(repository: RepositoryName, digest: Digest): Promise<SourceManifest | undefined>
  history(repository: RepositoryName): AsyncIterable<SourceObject>
  tags(repository: RepositoryName, onFault: (fault: SourceFault) => void): AsyncIterable<SourceTag>
}

export function registrySource(storage: RegistryStorage): CopySource {
  const { objects } = storage
  return {
    async *repositories() {
      for await (const key of listAll(objects, catalogPrefix)) {
        yield nameFromListed(key.slice(catalogPrefix.length))
      }
    },
    blobs: repository => lastParts(objects, repositoryPrefix(repository, '_b')),
    findBlob: async (repository, digest) => {
      const blob = await findBlob(storage, repository, digest)
      return blob && { size: blob.size, open: () => openBlob(storage, blob) }
    },
    manifests: repository => lastParts(objects, repositoryPrefix(repository, '_m')),
    findManifest: (repository, digest) => findManifest(storage, repository, digest),
    async *history(repository) {
      for await (const key of listAll(objects, repositoryPrefix(repository, '_th'))) {
        const object = await objects.get(key)
        if (object !== undefined) yield { key, bytes: object.bytes }
      }
    },
    tags: repository => tagsOf(storage, repository),
  }
}

async function* lastParts(
  objects: RegistryStorage['objects'],
  prefix: string,
): AsyncGenerator<Digest> {
  for await (const key of listAll(objects, prefix)) yield key.slice(prefix.length) as Digest
}

async function* tagsOf(
  storage: RegistryStorage,
  repository: RepositoryName,
): AsyncGenerator<SourceTag> {
  let last = ''
  for (;;) {
    const page = (await listTags(storage, repository, { last, max: 1000 })) as Tag[]
    for (const tag of page) {
      const [found, object] = await Promise.all([
        findTag(storage, repository, tag),
        storage.objects.get(tagKey(repository, tag)),
      ])
      if (found !== undefined && object !== undefined) {
        yield { tag, digest: found.digest, object: object.bytes }
      }
    }
    last = page.at(-1) ?? ''
    if (page.length < 1000) return
  }
}
