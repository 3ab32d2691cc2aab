/** `tsrun exec`: another process in a container that runs. */
import { OciError } from '../../oci/errors.ts'
import { openRoot } from '../layer/rootfs.ts'
import { joinContainer } from '../oci-runtime/join-container.ts'
import type { NativeHandle, NativeRequest, NativeResult } from '../oci-runtime/native-container.ts'
import type { ProcessConfig } from '../oci-runtime/process-config.ts'
import { allCapabilities } from '../sandbox/defaults.ts'
import type { Container } from './container-list.ts'
import { isPaused } from './container-processes.ts'
import { type JoinRecord, readJoinRecord } from './join-record.ts'
import { userInRoot } from './user-in-root.ts'

export interface ExecWishes {
  readonly argv: readonly string[]
  /** Over the container's: `KEY=value`. */
  readonly env: readonly string[]
  /** `user[:group]`, names of the container's passwd or ids; absent: the container's. */
  readonly user?: string
  readonly cwd?: string
  readonly terminal: boolean
  /** All capabilities, and the system calls that they open. */
  readonly privileged: boolean
  readonly stdio: NativeRequest['stdio']
  /** Does not wait for its end: it lives as long as the container. */
  readonly detached: boolean
  readonly onStarted?: (handle: NativeHandle) => void
}

/**
 * Throws `conflict` when the container does not run, `not-found` for a user that it lacks, and
 * `SandboxError` when the program cannot be started. Unless it is detached, it ends with us.
 */
export async function execInContainer(
  container: Container,
  wishes: ExecWishes,
): Promise<NativeResult> {
  const running = container.isRunning ? container.record?.process : undefined
  const name = container.id.slice(0, 12)
  if (running === undefined) {
    throw new OciError('conflict', `Cannot exec in container ${name}: it is not running`)
  }
  if (isPaused(container)) {
    throw new OciError('conflict', `Cannot exec in container ${name}: it is paused`, {
      hint: `Let it go on: tsrun unpause ${name}`,
    })
  }
  const own = readJoinRecord(container.path)
  const { stdio, onStarted } = wishes
  return await joinContainer(
    {
      id: name,
      pid: running.pid,
      startTime: running.start,
      seccomp: own.seccomp === 'unconfined' ? undefined : own.seccomp,
    },
    {
      process: processOf(own, wishes, running.pid),
      isDetached: wishes.detached,
      preserved: 0,
      stdio,
      ...(onStarted === undefined ? {} : { onStarted: (_, handle) => onStarted(handle) }),
    },
  )
}

function processOf(own: JoinRecord, wishes: ExecWishes, pid: number): ProcessConfig {
  const { user, home } = userOf(own, wishes, pid)
  const names = wishes.privileged ? allCapabilities : own.capabilities
  return {
    args: wishes.argv,
    env: environmentOf(own, wishes, home),
    cwd: wishes.cwd ?? own.cwd,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
    terminal: wishes.terminal,
    capabilities: {
      ...{ bounding: names, effective: names, permitted: names },
      ...{ inheritable: [], ambient: [] },
    },
    rlimits: own.resourceLimits,
    noNewPrivileges: own.noNewPrivileges,
  }
}

/** As the container sees its passwd: by the root of its first process. */
function userOf(
  own: JoinRecord,
  { user }: ExecWishes,
  pid: number,
): { readonly user: JoinRecord['user']; readonly home?: string } {
  if (user === undefined) return { user: own.user }
  using root = openRoot({ kind: 'directory', path: `/proc/${pid}/root`, readOnly: true })
  const found = userInRoot(root, user)
  return { user: found, home: found.home }
}

function environmentOf(
  own: JoinRecord,
  { env, terminal }: ExecWishes,
  home: string | undefined,
): string[] {
  const variables = new Map<string, string>()
  const isSet = (name: string) => variables.has(name)
  for (const assignment of own.env) set(variables, assignment)
  if (home !== undefined) variables.set('HOME', home)
  if (terminal && !isSet('TERM')) variables.set('TERM', 'xterm')
  for (const assignment of env) set(variables, assignment)
  return Array.from(variables, ([name, value]) => `${name}=${value}`)
}

function set(variables: Map<string, string>, assignment: string): void {
  const equals = assignment.indexOf('=')
  variables.set(assignment.slice(0, equals), assignment.slice(equals + 1))
}
