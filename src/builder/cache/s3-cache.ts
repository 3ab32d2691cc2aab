/** A cache in an S3 bucket, of which nothing is asked but to hold objects. */
import type { ObjectStore } from '../../registry/storage/object-store.ts'
import { PartMemory } from '../../registry/storage/s3/part-memory.ts'
import { createS3Client } from '../../registry/storage/s3/s3-client.ts'
import { S3ObjectStore } from '../../registry/storage/s3/s3-object-store.ts'
import { describeS3, type S3Options } from '../../registry/storage/s3/s3-options.ts'
import type { CachePlace } from './cache-place.ts'
import { type ObjectCache, objectCache } from './object-cache.ts'

export function s3Cache(
  options: S3Options,
  cache: Omit<ObjectCache, 'place' | 'open'>,
): CachePlace {
  let opened: Promise<ObjectStore> | undefined
  const open = async () => {
    const client = await createS3Client(options)
    const memory = new PartMemory(options.memory)
    // Whoever writes a name last decides: neither order nor conditions matter.
    return new S3ObjectStore({ client, listing: 'unordered', memory, hasConditions: false })
  }
  return objectCache({
    ...cache,
    place: describeS3(options),
    open: () => {
      opened ??= open()
      return opened
    },
  })
}
