/**
 * Starts a program in a sandbox that outlives us: its monitor hears signals, keeps the output and
 * the end, and clears up (native/sandbox/keep.c). Until we let go, it ends with us.
 */
import { exitOf, type Outcome, type StartedSandbox, superviseMonitor } from './monitor.ts'
import { startMonitor } from './monitor-process.ts'
import { prepareSandbox, type SandboxPlace } from './prepare.ts'
import type { SandboxSpec } from './spec.ts'

export interface DetachedIo extends SandboxPlace {
  /** A descriptor that the program reads; absent: it reads nothing. */
  readonly stdin?: number
  /** What the monitor holds as long as the container runs. */
  readonly lock: number
  /** A named pipe, open for reading and writing: each byte is a signal for the program. */
  readonly control: number
  /** An empty file for how it ended: runtime/container-files.ts. */
  readonly end: number
  /** An empty file for its output: runtime/container-log.ts. */
  readonly log: number
  /** How many bytes of it are kept; absent: all. */
  readonly logLimit?: number
  /** A directory, and where it is moved to at the end. */
  readonly discard?: { readonly from: string; readonly to: string }
  readonly signal?: AbortSignal
}

/**
 * Resolves when the program runs. Throws {@link SandboxError} when it could not be started, the
 * signal's reason when it was aborted; nothing is left then.
 */
export async function startSandbox(spec: SandboxSpec, io: DetachedIo): Promise<StartedSandbox> {
  const { discard, logLimit, signal } = io
  signal?.throwIfAborted()
  const { operations, cgroup, isSeen } = prepareSandbox(spec, io, { discard, logLimit })
  try {
    const descriptors = [io.lock, io.control, io.end, io.log]
    const monitor = await startMonitor([io.stdin ?? 'ignore', 'ignore', 'ignore', ...descriptors], {
      isDetached: true,
      isSeen,
    })
    return await new Promise((resolve, reject) => {
      const ended = superviseMonitor(monitor, operations, {
        output: 'inherit',
        onStarted: resolve,
        ...(signal === undefined ? {} : { signal }),
      })
      // Nothing to do where it had started: its end is in its file.
      ended.then(outcome => reject(whyNotStarted(outcome, signal)), reject)
    })
  } catch (error) {
    cgroup[Symbol.dispose]()
    throw error
  }
}

function whyNotStarted(outcome: Outcome, signal: AbortSignal | undefined): unknown {
  try {
    signal?.throwIfAborted()
    exitOf(outcome)
    return new Error('The sandbox ended before it had started')
  } catch (error) {
    return error
  }
}
