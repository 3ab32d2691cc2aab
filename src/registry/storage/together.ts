/** What a request writes, made durable together. */
import type { RegistryStorage } from './registry-storage.ts'

/**
 * Runs `task` on a storage whose writes are seen at once, and reach the disk together before this
 * resolves: that many small files cost few waits for the disk. Where `task` throws, what it wrote may
 * be lost in a power failure; nobody was told of it.
 */
export async function together<T>(
  storage: RegistryStorage,
  task: (storage: RegistryStorage) => Promise<T>,
): Promise<T> {
  if (storage.objects.batch === undefined) return task(storage)
  await using objects = storage.objects.batch()
  const result = await task({ ...storage, objects })
  await objects.settle()
  return result
}
