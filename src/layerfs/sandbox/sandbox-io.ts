/** What one program in a sandbox of its own is joined to: whoever makes that sandbox. */
import type { DetachedIo } from './detached.ts'
import type { EarlySandboxes } from './early-sandboxes.ts'
import type { MonitorIo, RunningSandbox } from './monitor.ts'
import type { SandboxPlace } from './prepare.ts'
import type { Spawner } from './spawner.ts'

export interface SandboxIo extends SandboxPlace {
  readonly stdin: 'null' | 'inherit'
  /** The path of another runtime that is to make it; absent: we do. */
  readonly runtime?: string
  /** Starts the monitor, where it can; absent: a process of ours is started. */
  readonly spawner?: Spawner
  /** May have one that has begun. */
  readonly early?: EarlySandboxes
  /** Whether one like this is to come: it is begun early, if it can be. */
  readonly isFollowed?: boolean
  /** Called in the order of each stream; what it throws ends the run with that error. */
  readonly output: MonitorIo['output']
  /** Kills everything; the run then rejects with the signal's reason, after all is gone. */
  readonly signal?: AbortSignal
  readonly onStarted?: (handle: RunningSandbox) => void
  /** Of a container, as for those of detached.ts. */
  readonly shared?: Pick<DetachedIo, 'lock' | 'control' | 'end'>
}
