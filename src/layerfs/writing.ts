/**
 * Writing: which processes may bring blobs and snapshots into a store that nothing refers to yet.
 *
 * Each holds a shared lock on one file; who removes what nothing refers to holds it exclusively. So
 * a pull that finds a blob in the store finds it there until it has named the image.
 *
 * Who removes something while it writes itself keeps that lock, for it is not to lose what it has
 * begun, and needs to be alone on a second one, `at-work`, that every writer shares too. A third,
 * `trimming`, makes those who try come one by one: who tries has to let go of the second first.
 */
import { OciError } from '../oci/errors.ts'
import { acquireLock, type FileLock, tryLock } from './content/file-lock.ts'

export interface Writing {
  /** Idempotent. */
  stop(): void
  /** See `Store.exclusively`. A process that was writing is so again when the promise settles. */
  exclusively<T>(task: () => Promise<T>): Promise<T>
  /** See `Store.exclusivelyAtWork`. */
  exclusivelyAtWork<T>(task: () => Promise<T>): Promise<T>
}

/** Waits while another process holds the lock exclusively. */
export async function startWriting(path: string): Promise<Writing> {
  const atWork = `${path}-at-work`
  let held: FileLock | undefined
  let heldAtWork: FileLock | undefined
  const start = async () => {
    held = await acquireLock(path, 'shared')
    heldAtWork = await acquireLock(atWork, 'shared')
  }
  const stopAtWork = () => {
    heldAtWork?.[Symbol.dispose]()
    heldAtWork = undefined
  }
  const stop = () => {
    stopAtWork()
    held?.[Symbol.dispose]()
    held = undefined
  }
  await start()
  return {
    stop,
    exclusively: async task => {
      const wasWriting = held !== undefined
      stop()
      try {
        using lock = tryLock(path, 'exclusive')
        if (lock !== undefined) return await task()
      } finally {
        if (wasWriting) await start()
      }
      throw busy()
    },
    exclusivelyAtWork: async task => {
      if (held === undefined) throw busy()
      using _turn = await acquireLock(`${path}-trimming`, 'exclusive')
      if (held === undefined) throw busy()
      stopAtWork()
      try {
        using lock = tryLock(atWork, 'exclusive')
        if (lock !== undefined) return await task()
      } finally {
        heldAtWork = await acquireLock(atWork, 'shared')
        // Stopped meanwhile.
        if (held === undefined) stopAtWork()
      }
      throw busy()
    },
  }
}

function busy(): OciError {
  return new OciError('conflict', 'Cannot clean up the store: another process is using it', {
    hint: 'try again when no build, pull or load is running',
  })
}
