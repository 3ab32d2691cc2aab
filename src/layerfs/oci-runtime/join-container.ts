/**
 * A process that joins a running container: `exec`. It gets the namespaces, the cgroup, the root and
 * the filter of the container, and its own user, directory, terminal and capabilities.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import { namespaceNames } from '../sandbox/namespace-names.ts'
import type { Operation } from '../sandbox/operation-words.ts'
import { processStart } from '../sandbox/process-start.ts'
import { flag, processOperations } from './bundle-operations.ts'
import {
  type NativeHandle,
  type NativeRequest,
  type NativeResult,
  runNative,
} from './native-container.ts'
import type { ProcessConfig } from './process-config.ts'
import { type CommonSettings, commonOperations } from './scheduling-config.ts'

export interface JoinTarget {
  /** For messages. */
  readonly id: string
  /** Of the container's first process, which may have ended, and its number be another's. */
  readonly pid: number
  readonly startTime: string
  /** `default`: ours, for the capabilities of the process. */
  readonly seccomp: Uint8Array | 'default' | undefined
  readonly common?: CommonSettings
}

export interface JoinRequest {
  readonly process: ProcessConfig
  readonly isDetached: boolean
  readonly consoleSocket?: string
  readonly preserved: number
  readonly stdio?: NativeRequest['stdio']
  readonly onStarted?: (pid: number, handle: NativeHandle) => void
}

/** Throws `conflict` when the container has ended, and `SandboxError`; nothing runs then. */
export async function joinContainer(
  target: JoinTarget,
  request: JoinRequest,
): Promise<NativeResult> {
  const { preserved, stdio = 'inherit' } = request
  const { seccomp } = target
  // A directory of /proc stays that process's, whoever gets its number later.
  const place = openProcess(target)
  try {
    const entry = `/proc/self/fd/${firstPreserved + preserved}`
    return await runNative({
      operations: [
        ['namespaces', 0],
        ['option', 'joins-container'],
        ...namespacesToJoin(place, entry),
        ...cgroupOperations(place),
        ...flag('seccomp', seccomp === 'default'),
        ...flag('detached', request.isDetached),
        ...(preserved === 0 ? [] : [['preserve', preserved] as const]),
        ...(request.consoleSocket === undefined
          ? []
          : [['console-socket', request.consoleSocket] as const]),
        ...(target.common === undefined ? [] : commonOperations(target.common)),
        ...processOperations(request.process, seccomp === 'default' ? undefined : seccomp),
      ],
      stdio,
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

/** Those that are not ours anyway. */
function namespacesToJoin(place: number, entry: string): Operation[] {
  return namespaceNames.flatMap(([kind, name]) => {
    const path = `/proc/self/fd/${place}/ns/${name}`
    if (!existsSync(path)) return []
    const [theirs, ours] = [statSync(path), statSync(`/proc/self/ns/${name}`)]
    return theirs.ino === ours.ino ? [] : [['join', kind, `${entry}/ns/${name}`] as const]
  })
}

/** Where the first process is, which may be further down than it began; what we are in anyway is left out. */
function cgroupOperations(place: number): Operation[] {
  const { v1, v2 } = cgroupHierarchies()
  const ours = new Set(readFileSync('/proc/self/cgroup', 'utf8').split('\n'))
  const theirs = readFileSync(`/proc/self/fd/${place}/cgroup`, 'utf8').split('\n')
  return theirs.flatMap((line): Operation[] => {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (path === '' || path === '/' || path.startsWith('/..') || ours.has(line)) return []
    if (controllers === '') return v2 === undefined ? [] : [['begin-in-cgroup', join(v2, path)]]
    const mount = v1[controllers.split(',')[0] ?? '']
    return mount === undefined ? [] : [['cgroup', join(mount, path, 'cgroup.procs')]]
  })
}
