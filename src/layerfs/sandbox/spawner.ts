/**
 * Starts many monitors one after the other, each by a fork of a small process that stays
 * (native/sandbox/spawner.c): to start one from Node takes as long as all the rest of a short step.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { hasCode } from '../../oci/errors.ts'
import { nativePath } from '../native/native-programs.ts'
import { syscalls } from '../native/syscalls.ts'
import { cannotStart, type MonitorProcess } from './monitor-process.ts'

export interface Spawner extends Disposable {
  /**
   * A monitor that reads nothing on its 0, and whose output we read. Throws as `startMonitor`; where
   * the spawner has no room for a process, the monitor's report says so.
   */
  start(): Promise<MonitorProcess>
}

/** Our end of its socket. It ends when that closes, and so with us. */
interface SpawnerProcess {
  /** Absent: closed. */
  fd: number | undefined
}

/** Its process starts with the first monitor and ends when it is disposed, or with us. */
export function openSpawner(): Spawner {
  let running: Promise<SpawnerProcess> | undefined
  const started = async (): Promise<SpawnerProcess> => {
    running ??= startProcess()
    const process = await running
    if (process.fd !== undefined) return process
    running = startProcess()
    return await running
  }
  return {
    start: async () => {
      try {
        const process = await started()
        try {
          return startThrough(process)
        } catch (error) {
          // Somebody killed it. What it had started lives on.
          if (!hasCode(error, 'EPIPE')) throw error
          close(process)
          return startThrough(await started())
        }
      } catch (error) {
        throw cannotStart(error)
      }
    },
    [Symbol.dispose]: () => {
      void running?.then(close, () => {})
    },
  }
}

async function startProcess(): Promise<SpawnerProcess> {
  const [ours, theirs] = syscalls().socketPair('messages')
  try {
    const stdio = ['ignore', 'ignore', 'ignore', theirs] as const
    const child = spawn(nativePath('sandbox'), ['spawner'], { stdio: [...stdio], env: {} })
    await once(child, 'spawn')
    child.on('error', () => {})
    child.unref()
    return { fd: ours }
  } catch (error) {
    closeSync(ours)
    throw error
  } finally {
    closeSync(theirs)
  }
}

function close(process: SpawnerProcess): void {
  if (process.fd !== undefined) closeSync(process.fd)
  process.fd = undefined
}

function send({ fd }: SpawnerProcess, message: string, descriptors: readonly number[]): void {
  if (fd !== undefined) syscalls().sendDescriptors(fd, message, descriptors)
}

/** For its descriptors 1 to 4: what goes to it, and its records, share a socket. */
function startThrough(spawner: SpawnerProcess): MonitorProcess {
  const pairs = Array.from({ length: 3 }, () => syscalls().socketPair('stream'))
  try {
    const theirs = pairs.map(([, end]) => end)
    send(spawner, 's', theirs)
  } catch (error) {
    for (const [ours] of pairs) closeSync(ours)
    throw error
  } finally {
    for (const [, theirs] of pairs) closeSync(theirs)
  }
  const sockets = pairs.map(([fd], i) => new Socket({ fd, readable: true, writable: i === 2 }))
  const [stdout, stderr, control] = sockets as [Socket, Socket, Socket]
  let pid: number | undefined
  return {
    control,
    reports: control,
    output: { stdout, stderr },
    closed: Promise.all(sockets.map(closeOf)),
    kill: () => {
      if (pid !== undefined) send(spawner, `k${pid}`, [])
    },
    unref: () => {
      for (const socket of sockets) socket.unref()
    },
    isNumbered: number => {
      pid = number
    },
  }
}

/** However: an error of a socket says no more than that the monitor is gone. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise(resolve => socket.on('error', () => {}).on('close', () => resolve()))
}
