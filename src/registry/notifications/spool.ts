/**
 * The folder of event logs: one for each process that is, or was.
 *
 *   <folder>/<number>/   a log, locked by the process that writes it
 *
 * A process takes every log whose process is gone: the first it goes on with as its own, the others
 * are sent and removed.
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
}

/** Makes the folder when it is missing. Throws the system's error. */
export async function openSpool(folder: string, maxBytes: number): Promise<Spool> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const held: HeldLog[] = []
  const names = (await readdir(folder)).filter(name => /^[1-9]\d{0,5}$/.test(name))
  for (const name of names.sort((one, other) => Number(one) - Number(other))) {
    const lock = tryLock(join(folder, name), 'exclusive')
    if (lock !== undefined) held.push(await hold(join(folder, name), lock, maxBytes))
  }
  const [own = await create(folder, maxBytes), ...leftBehind] = held
  return { own, leftBehind }
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
    const lock = tryLock(path, 'exclusive')
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
