/**
 * Writing: which processes may bring blobs and snapshots into a store that nothing refers to yet.
 *
 * Each holds a shared lock on one file; who removes what nothing refers to holds it exclusively. So
 * a pull that finds a blob in the store finds it there until it has named the image.
 */
import { OciError } from '../oci/errors.ts'
import { acquireLock, type FileLock, tryLock } from './content/file-lock.ts'

export interface Writing {
  /** Idempotent. */
  stop(): void
  /** See `Store.exclusively`. A process that was writing is so again when the promise settles. */
  exclusively<T>(task: () => Promise<T>): Promise<T>
}

/** Waits while another process holds the lock exclusively. */
export async function startWriting(path: string): Promise<Writing> {
  let held: FileLock | undefined = await acquireLock(path, 'shared')
  const stop = () => {
    held?.[Symbol.dispose]()
    held = undefined
  }
  return {
    stop,
    exclusively: async task => {
      const wasWriting = held !== undefined
      stop()
      try {
        using lock = tryLock(path, 'exclusive')
        if (lock !== undefined) return await task()
      } finally {
        if (wasWriting) held = await acquireLock(path, 'shared')
      }
      throw new OciError('conflict', 'Cannot clean up the store: another process is using it', {
        hint: 'try again when no build, pull or load is running',
      })
    },
  }
}
