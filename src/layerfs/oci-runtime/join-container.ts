/**
 * A process that joins a running container: `exec`. It gets the namespaces, the cgroup, the root and
 * the filter of the container, and its own user, directory, terminal and capabilities.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import type { Operation } from '../sandbox/operations.ts'
import { processStart } from '../sandbox/process-start.ts'
import { flag, processOperations } from './bundle-operations.ts'
import { type NativeHandle, type NativeResult, runNative } from './native-container.ts'
import type { ProcessConfig } from './process-config.ts'

export interface JoinTarget {
  /** For messages. */
  readonly id: string
  /** Of the container's first process, which may have ended, and its number be another's. */
  readonly pid: number
  readonly startTime: string
  /** Directories of version 1, to enter beside that of version 2. */
  readonly classicCgroups: readonly string[]
  readonly seccomp: Uint8Array | undefined
}

export interface JoinRequest {
  readonly process: ProcessConfig
  readonly isDetached: boolean
  readonly consoleSocket?: string
  readonly preserved: number
  readonly onStarted?: (pid: number, handle: NativeHandle) => void
}

/** Throws `conflict` when the container has ended, and `SandboxError`; nothing runs then. */
export async function joinContainer(
  target: JoinTarget,
  request: JoinRequest,
): Promise<NativeResult> {
  const { preserved } = request
  // A directory of /proc stays that process's, whoever gets its number later.
  const place = openProcess(target)
  try {
    const entry = `/proc/self/fd/${firstPreserved + preserved}`
    return await runNative({
      operations: [
        ['namespaces', 0],
        ['option', 'joins-container'],
        ...namespacesToJoin(place, entry),
        ...cgroupOperations(place, target),
        ...flag('detached', request.isDetached),
        ...(preserved === 0 ? [] : [['preserve', preserved] as const]),
        ...(request.consoleSocket === undefined
          ? []
          : [['console-socket', request.consoleSocket] as const]),
        ...processOperations(request.process, target.seccomp),
      ],
      descriptors: [...Array.from({ length: preserved }, (_, index) => 3 + index), place],
      ...(request.onStarted === undefined ? {} : { onStarted: request.onStarted }),
    })
  } finally {
    closeSync(place)
  }
}

const firstPreserved = 5

function openProcess({ id, pid, startTime }: JoinTarget): number {
  const ended = () => new OciError('conflict', `Cannot join container "${id}": it is not running`)
  let place: number
  try {
    place = openSync(`/proc/${pid}`, 'r')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw ended()
    throw error
  }
  if (processStart(pid) === startTime && existsSync(`/proc/self/fd/${place}/ns`)) return place
  closeSync(place)
  throw ended()
}

const namespaces = [
  ['user', 'user'],
  ['pid', 'pid'],
  ['network', 'net'],
  ['ipc', 'ipc'],
  ['uts', 'uts'],
  ['time', 'time'],
  ['mount', 'mnt'],
  ['cgroup', 'cgroup'],
] as const

/** Those that are not ours anyway. */
function namespacesToJoin(place: number, entry: string): Operation[] {
  return namespaces.flatMap(([kind, name]) => {
    const path = `/proc/self/fd/${place}/ns/${name}`
    if (!existsSync(path)) return []
    const [theirs, ours] = [statSync(path), statSync(`/proc/self/ns/${name}`)]
    return theirs.ino === ours.ino ? [] : [['join', kind, `${entry}/ns/${name}`] as const]
  })
}

/** Version 2 as the first process has it: the container may have moved it further down. */
function cgroupOperations(place: number, { classicCgroups }: JoinTarget): Operation[] {
  const { v2 } = cgroupHierarchies()
  const lines = readFileSync(`/proc/self/fd/${place}/cgroup`, 'utf8')
  const path = /^0::(\/.*)$/m.exec(lines)?.[1]
  const isOwn = path !== undefined && path !== '/' && !path.startsWith('/..')
  return [
    ...(v2 !== undefined && isOwn ? [['begin-in-cgroup', join(v2, path)] as const] : []),
    ...classicCgroups.map(directory => ['cgroup', `${directory}/cgroup.procs`] as const),
  ]
}
