/**
 * The folder of event logs: one for each process that is, or was.
 *
 *   <folder>/<number>/   a log, locked by the process that writes it
 *
 * A process takes every log whose process is gone, when it starts and while it runs: the first it goes
 * on with as its own, the others are sent and removed.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type FileLock, tryLock } from '../../layerfs/content/file-lock.ts'
import { hasCode } from '../../oci/errors.ts'
import { EventLog } from './event-log.ts'

export interface HeldLog extends AsyncDisposable {
  readonly log: EventLog
  /** Once all of it was sent. */
  remove(): Promise<void>
}

export interface Spool {
  readonly own: HeldLog
  readonly leftBehind: readonly HeldLog[]
  /** The logs of processes that have gone since. Throws the system's error. */
  takeOver(): Promise<readonly HeldLog[]>
}

/** Makes the folder when it is missing. Throws the system's error. */
export async function openSpool(folder: string, maxBytes: number): Promise<Spool> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const takeOver = () => takeAbandoned(folder, maxBytes)
  const [own = await create(folder, maxBytes), ...leftBehind] = await takeOver()
  return { own, leftBehind, takeOver }
}

/** All that nobody has locked, this process included. */
async function takeAbandoned(folder: string, maxBytes: number): Promise<readonly HeldLog[]> {
  const held: HeldLog[] = []
  const names = (await readdir(folder)).filter(name => /^[1-9]\d{0,5}$/.test(name))
  for (const name of names.sort((one, other) => Number(one) - Number(other))) {
    const lock = lockThere(join(folder, name))
    if (lock !== undefined) held.push(await hold(join(folder, name), lock, maxBytes))
  }
  return held
}

/** `undefined` when another process has it, or has sent and removed it. */
function lockThere(path: string): FileLock | undefined {
  try {
    return tryLock(path, 'exclusive')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

async function create(folder: string, maxBytes: number): Promise<HeldLog> {
  for (let number = 1; ; number++) {
    const path = join(folder, String(number))
    try {
      await mkdir(path, { mode: 0o700 })
    } catch (error) {
      if (hasCode(error, 'EEXIST')) continue
      throw error
    }
    // Another process may have been faster, and have taken it for one that was left.
    const lock = lockThere(path)
    if (lock !== undefined) return hold(path, lock, maxBytes)
  }
}

async function hold(path: string, lock: FileLock, maxBytes: number): Promise<HeldLog> {
  const log = await EventLog.open(path, maxBytes)
  return {
    log,
    remove: () => rm(path, { recursive: true, force: true }),
    [Symbol.asyncDispose]: async () => {
      await log.close()
      lock[Symbol.dispose]()
    },
  }
}
