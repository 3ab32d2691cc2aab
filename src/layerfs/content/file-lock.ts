/**
 * Locks between processes: the kernel's flock(2) on a file or a directory.
 *
 * 1. A lock belongs to an open descriptor: it ends when that is closed, and so with its process,
 *    however it ends. No lock is ever stale.
 * 2. A lock that was granted is on the file that the path names *now*: one that was removed or
 *    renamed while we waited counts as held, so whoever holds a lock may remove its file.
 * 3. Two holders in one process exclude each other like two processes.
 *
 * Waiting polls with a growing pause, because flock(2) itself would block the event loop.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { inDirectory, removeFile } from './atomic-file.ts'
import { ownFileFlags } from './own-files.ts'

export type LockMode = 'shared' | 'exclusive'

/** Held until disposed. A process that is given `fd` keeps holding it after us. */
export interface FileLock extends Disposable {
  readonly fd: number
}

export type LockRequest = LockMode | { readonly mode: LockMode; readonly signal?: AbortSignal }

const operations = { shared: 1, exclusive: 2 } as const
const failInsteadOfWaiting = 4

const firstPauseMs = 1
const longestPauseMs = 64

/**
 * Runs `task` under the lock on the file `path`, which is made when missing. Who was alone with it
 * removes it: most name one step or layer, and every later command would look at each.
 */
export async function withLock<T>(
  path: string,
  request: LockRequest,
  task: () => Promise<T>,
): Promise<T> {
  const { mode } = inWords(request)
  using _lock = await acquireLock(path, request)
  using _file = { [Symbol.dispose]: () => (mode === 'exclusive' ? removeFile(path) : undefined) }
  return await task()
}

function inWords(request: LockRequest): Exclude<LockRequest, LockMode> {
  return typeof request === 'string' ? { mode: request } : request
}

/**
 * Waits for the lock on the file `path`, which is made when missing, with its directory.
 * Rejects with the signal's reason when that aborts first.
 */
export async function acquireLock(path: string, request: LockRequest): Promise<FileLock> {
  const { mode, signal } = inWords(request)
  const directory = dirname(path)
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    signal?.throwIfAborted()
    const fd = inDirectory(directory, () => openSync(path, lockFileFlags, 0o600))
    const lock = lockOpened(path, fd, mode)
    if (lock !== undefined) return lock
    // A random part keeps waiters from trying in step.
    await pauseUnlessAborted(pauseMs * (0.5 + Math.random()), signal)
  }
}

async function pauseUnlessAborted(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await pause(ms)
  await pause(ms, undefined, { signal }).catch((error: unknown) => {
    // The timer's error is not the signal's reason.
    signal.throwIfAborted()
    throw error
  })
}

const lockFileFlags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW

/** The lock on the file `path`, which is made when missing; `undefined` when it is held. */
export function tryAcquireLock(path: string, mode: LockMode): FileLock | undefined {
  return lockOpened(path, openSync(path, lockFileFlags, 0o600), mode)
}

/** The lock on an existing file or directory; `undefined` when it is held. Throws ENOENT. */
export function tryLock(path: string, mode: LockMode): FileLock | undefined {
  return lockOpened(path, openSync(path, ownFileFlags), mode)
}

/** Locks what `fd` has open, closing it when another holds the lock or on any failure. */
function lockOpened(path: string, fd: number, mode: LockMode): FileLock | undefined {
  try {
    syscalls().flock(fd, operations[mode] | failInsteadOfWaiting)
    if (isNamed(fd, path)) return heldBy(fd)
  } catch (error) {
    closeSync(fd)
    if (hasCode(error, 'EAGAIN')) return undefined
    throw error
  }
  closeSync(fd)
  return undefined
}

/** Lets go once: the number may be another file's when it is asked to again. */
function heldBy(fd: number): FileLock {
  let isHeld = true
  return {
    fd,
    [Symbol.dispose]: () => {
      if (isHeld) closeSync(fd)
      isHeld = false
    },
  }
}

/** Whether `path` still names the open file: see invariant (2). */
function isNamed(fd: number, path: string): boolean {
  const named = statSync(path, { bigint: true, throwIfNoEntry: false })
  const opened = fstatSync(fd, { bigint: true })
  return named !== undefined && named.ino === opened.ino && named.dev === opened.dev
}
