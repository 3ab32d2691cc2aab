/**
 * Sandboxes that begin before it is known what runs in them: while one step of a build runs, the
 * cgroup and the namespaces of the next are made, and its /proc, /dev and /sys. That is half of a
 * short step's sandbox. Its network is connected later: beside the end of the one before, that took
 * longer (measured).
 *
 * One waits at a time, and not for long: until its root is entered it holds what this machine has
 * mounted.
 */
import type { Cgroup } from './cgroup.ts'
import { superviseMonitor } from './monitor.ts'
import type { MonitorProcess } from './monitor-process.ts'
import type { SandboxFrame } from './operations.ts'
import { prepareFrame } from './prepare.ts'
import type { Spawner } from './spawner.ts'
import type { SandboxSpec } from './spec.ts'

export interface EarlySandbox {
  /** Reads what `prepareProgram` makes. */
  readonly monitor: MonitorProcess
  readonly cgroup: Cgroup
}

/** Disposed of, what nobody took has ended. */
export interface EarlySandboxes extends AsyncDisposable {
  /** Whether one waits that began in the frame of this spec. */
  waits(spec: SandboxSpec): boolean
  /** It is the caller's then. `undefined`: there is none any more. */
  take(spec: SandboxSpec): Promise<EarlySandbox | undefined>
  /** Begins one like this for who comes next, in the place of one that waits. Returns at once. */
  begin(spec: SandboxSpec): void
}

/** Longer than a short step takes. */
const patienceMs = 500

interface Waiting {
  readonly frame: string
  /** What keeps one from beginning will keep the step that wants it, and is said there. */
  readonly begun: Promise<EarlySandbox | undefined>
  readonly deadline: NodeJS.Timeout
}

export function openEarlySandboxes(spawner: Spawner): EarlySandboxes {
  let waiting: Waiting | undefined
  let count = 0
  const ending = new Set<Promise<void>>()
  const leave = (): Waiting | undefined => {
    const left = waiting
    clearTimeout(left?.deadline)
    waiting = undefined
    return left
  }
  const endWaiting = () => {
    const ended = endOf(leave())
    const forget = () => ending.delete(ended)
    ending.add(ended)
    ended.then(forget, forget)
  }
  return {
    waits: spec => waiting?.frame === frameOf(spec),
    take: async spec => {
      if (waiting?.frame !== frameOf(spec)) return undefined
      const early = await leave()?.begun
      if (early?.monitor.output?.stdout.destroyed !== true) return early
      // Somebody killed it.
      early.cgroup[Symbol.dispose]()
      return undefined
    },
    begin: spec => {
      endWaiting()
      waiting = {
        frame: frameOf(spec),
        begun: begin(spec, { id: `early-${count++}`, spawner }).catch(() => undefined),
        deadline: setTimeout(endWaiting, patienceMs).unref(),
      }
    },
    [Symbol.asyncDispose]: async () => {
      endWaiting()
      await Promise.all(ending)
    },
  }
}

async function begin(
  frame: SandboxFrame,
  { id, spawner }: { readonly id: string; readonly spawner: Spawner },
): Promise<EarlySandbox> {
  const { cgroup, operations } = prepareFrame(frame, id)
  try {
    const monitor = await spawner.start()
    // Before there is a program, nothing comes of it but its end.
    monitor.output?.stdout.resume()
    monitor.control.on('error', () => {})
    monitor.control.write(operations)
    return { cgroup, monitor }
  } catch (error) {
    cgroup[Symbol.dispose]()
    throw error
  }
}

async function endOf(left: Waiting | undefined): Promise<void> {
  const early = await left?.begun
  if (early === undefined) return
  const { cgroup, monitor } = early
  const nothing = Buffer.alloc(0)
  const ended = superviseMonitor(monitor, nothing, {
    output: () => {},
    signal: AbortSignal.abort(),
  })
  // What it waits for will not come.
  monitor.control.end()
  await ended
  cgroup[Symbol.dispose]()
}

/** Two with the same can be each other's. */
function frameOf(spec: SandboxSpec): string {
  const { root, mounts, hostFiles, extraHosts, dns, ...more } = spec
  const { dnsSearch, dnsOptions, argv, env, cwd, user, ...frame } = more
  return JSON.stringify(frame satisfies SandboxFrame)
}
