/** How much repositories hold: what they link to and what is being uploaded, by looking. */
import { LRUCache } from 'lru-cache'
import type { RepositoryName } from '../../../oci/reference.ts'
import { repositoryPrefix, uploadsPrefix } from '../../storage/keys.ts'
import { listAll } from '../../storage/object-store.ts'
import { decodeRecord } from '../../storage/records.ts'
import type { RegistryStorage } from '../../storage/registry-storage.ts'
import { repositoriesWithContent } from '../../storage/repositories.ts'
import { readSession } from '../../storage/upload-session.ts'

export interface UsageReader {
  /** Bytes of the blobs and manifests of all these repositories, and of their uploads under way. */
  usedBy(isMeant: (repository: string) => boolean, one?: RepositoryName): Promise<number>
}

/** The size of what a digest names never changes. */
const maxSizes = 200_000

export function usageReader(storage: RegistryStorage): UsageReader {
  const sizes = new LRUCache<string, number>({ max: maxSizes })
  const sizeOf = async (key: string, read: (key: string) => Promise<number>) => {
    const name = key.slice(key.lastIndexOf('/_'))
    const known = sizes.get(name)
    if (known !== undefined) return known
    const size = await read(key)
    sizes.set(name, size)
    return size
  }
  const { objects } = storage
  const linkSize = async (key: string) => {
    const object = await objects.get(key)
    const size = object === undefined ? 0 : decodeRecord(object.bytes)?.['size']
    return typeof size === 'number' ? size : 0
  }
  const manifestSize = async (key: string) => (await objects.size(key)) ?? 0
  const held = async (repository: RepositoryName) => {
    const links = sumOf(listAll(objects, repositoryPrefix(repository, '_b')), key =>
      sizeOf(key, linkSize),
    )
    const manifests = sumOf(listAll(objects, repositoryPrefix(repository, '_m')), key =>
      sizeOf(key, manifestSize),
    )
    return (await links) + (await manifests)
  }
  return {
    usedBy: async (isMeant, one) => {
      const repositories = one === undefined ? repositoriesWithContent(storage, isMeant) : only(one)
      const stored = await sumOf(repositories, held)
      const uploading = await sumOf(listAll(objects, uploadsPrefix), async key => {
        const session = await readSession(storage, key.slice(uploadsPrefix.length))
        return session !== undefined && isMeant(session.repository) ? session.checkpoint.size : 0
      })
      return stored + uploading
    },
  }
}

async function* only(repository: RepositoryName): AsyncGenerator<RepositoryName> {
  yield repository
}

const atOnce = 16

async function sumOf<T>(
  items: AsyncIterable<T>,
  sizeOf: (item: T) => Promise<number>,
): Promise<number> {
  const iterator = items[Symbol.asyncIterator]()
  let sum = 0
  const work = async () => {
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      const size = await sizeOf(next.value)
      sum += size
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return sum
}
