/** The native program as a process of ours, however it was started: what is read of it and written to it. */
import { type StdioOptions, spawn } from 'node:child_process'
import type { Duplex, Readable } from 'node:stream'
import { hasCode, OciError } from '../../oci/errors.ts'
import { nativeHint, nativePath } from '../native/native-programs.ts'

export interface MonitorProcess {
  /** Takes operations, then signals. */
  readonly control: Duplex
  /** Tells records. */
  readonly reports: Readable
  /** Of the program that it watches; absent where that has ours. */
  readonly output?: { readonly stdout: Readable; readonly stderr: Readable }
  /** Resolves when it has ended, and all that it wrote was read. */
  readonly closed: Promise<unknown>
  /** At once, and the kernel then kills its container. */
  kill(): void
  /** Our process may end before it. */
  unref(): void
  /** To be told its number, where it tells that itself. */
  isNumbered?(pid: number): void
}

/**
 * `stdio`: descriptors 0 to 2, then those from 5. Detached ones are of no terminal's session; one
 * that is `isSeen` by other containers runs from a copy that nobody can write.
 * Throws `unsupported` without the native program, and `unavailable` when the machine has no room
 * for a process: then it has no streams either.
 */
export async function startMonitor(
  stdio: readonly ('ignore' | 'inherit' | 'pipe' | number)[],
  { isDetached = false, isSeen = false }: { isDetached?: boolean; isSeen?: boolean } = {},
): Promise<MonitorProcess> {
  const all: StdioOptions = [...stdio.slice(0, 3), 'pipe', 'pipe', ...stdio.slice(3)]
  const child = spawn(nativePath('sandbox'), isSeen ? ['sealed'] : [], {
    stdio: all,
    env: {},
    ...(isDetached ? { detached: true, cwd: '/' } : {}),
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    // Stays: one that comes later, of a signal that could not be sent, must not end our process.
    child.on('error', error => reject(cannotStart(error)))
  })
  const { stdout, stderr } = child
  return {
    control: child.stdio[3] as Duplex,
    reports: child.stdio[4] as Duplex,
    ...(stdout === null || stderr === null ? {} : { output: { stdout, stderr } }),
    closed: new Promise(resolve => child.on('close', resolve)),
    kill: () => child.kill('SIGKILL'),
    unref: () => child.unref(),
  }
}

/** Of the error with which a start of the native program ended. */
export function cannotStart(cause: unknown): OciError {
  const noRoom = ['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'] as const
  if (noRoom.some(code => hasCode(cause, code))) {
    const why = cause instanceof Error ? cause.message : String(cause)
    return new OciError('unavailable', `Cannot start a sandbox: ${why}`, { cause })
  }
  return new OciError('unsupported', `Cannot start the native program "${nativePath('sandbox')}"`, {
    cause,
    hint: nativeHint(),
  })
}
