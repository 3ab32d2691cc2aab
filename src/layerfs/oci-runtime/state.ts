/**
 * What is remembered of a container, and what it is now.
 *
 *   <root>/<id>/
 *     state.json     written before anything is made, again when PID 1 is there; synced, renamed
 *     start          the socket PID 1 waits at; gone once the container has been started
 *     seccomp.bpf    the filter, for processes that join
 *
 *   creating ──► created ──start──► running ⇄ paused ──► stopped ──delete──► gone
 *
 * Nothing but files: whether PID 1 lives is asked of the kernel, by number and time of start. A
 * `create` that was killed leaves a directory that `delete --force` takes away with its cgroup.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { makeDirectory } from '../content/atomic-file.ts'
import { processStart } from '../sandbox/process-start.ts'
import { type ContainerCgroup, isFrozen } from './freezer.ts'

export type Status = 'creating' | 'created' | 'running' | 'paused' | 'stopped'

export interface ContainerState {
  readonly layout: 1
  readonly ociVersion: string
  readonly id: string
  /** Absolute. */
  readonly bundle: string
  readonly rootfs: string
  /** ISO 8601. */
  readonly created: string
  readonly owner: string
  readonly annotations: Readonly<Record<string, string>>
  readonly cgroup: ContainerCgroup
  /** 0 until there is one. */
  readonly pid: number
  /** In ticks since boot, as /proc has it: numbers are used again. */
  readonly startTime: string
  /** `process` and `hooks` as in the bundle when it was created. */
  readonly process: unknown
  readonly hooks: unknown
  /** What of `linux` concerns each process; absent in states of before. */
  readonly linux?: unknown
}

/** Throws `invalid` for a name that could leave the directory or that others refuse. */
export function containerDirectory(root: string, id: string): string {
  if (/^[A-Za-z0-9_+.-]{1,1024}$/.test(id) && id !== '.' && id !== '..') return join(root, id)
  throw new OciError(
    'invalid',
    `Cannot use container id "${printable(id)}": expected letters, digits, "_", "+", "-" and "."`,
  )
}

/** Throws `already-exists`. */
export function makeContainerDirectory(root: string, id: string): string {
  const directory = containerDirectory(root, id)
  makeDirectory(root, 0o700)
  try {
    mkdirSync(directory, { mode: 0o700 })
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    throw new OciError('already-exists', `Cannot create container "${id}": it already exists`)
  }
  return directory
}

export function writeState(root: string, state: ContainerState): void {
  const file = join(containerDirectory(root, state.id), 'state.json')
  writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** Throws `not-found`. A directory without a state is of a `create` that has just begun or died. */
export function readState(root: string, id: string): ContainerState {
  const directory = containerDirectory(root, id)
  try {
    return JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8')) as ContainerState
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || existsSync(directory)) throw unreadable(id, error)
    throw new OciError('not-found', `Cannot find container "${id}": container does not exist`)
  }
}

function unreadable(id: string, cause: unknown): OciError {
  return new OciError('conflict', `Cannot read the state of container "${id}"`, {
    cause,
    hint: 'It is being created, or that was interrupted: "delete --force" removes it',
  })
}

export function removeState(root: string, id: string): void {
  rmSync(containerDirectory(root, id), { recursive: true, force: true })
}

/** Of all containers that can be read, by id. */
export function listStates(root: string): ContainerState[] {
  if (!existsSync(root)) return []
  return readdirSync(root)
    .sort()
    .flatMap(id => {
      try {
        return [readState(root, id)]
      } catch (error) {
        if (hasCode(error, 'conflict') || hasCode(error, 'not-found')) return []
        throw error
      }
    })
}

export function startSocket(root: string, id: string): string {
  return join(containerDirectory(root, id), 'start')
}

/** What a container's filter is, for who joins; absent without one. */
export function filterFile(root: string, id: string): string {
  return join(containerDirectory(root, id), 'seccomp.bpf')
}

export function statusOf(root: string, state: ContainerState): Status {
  if (state.pid === 0) return 'creating'
  if (processStart(state.pid) !== state.startTime) return 'stopped'
  if (existsSync(startSocket(root, state.id))) return 'created'
  return isFrozen(state.cgroup) ? 'paused' : 'running'
}

/** The specification's state; hooks read it, too. */
export function specState(
  state: Pick<ContainerState, 'ociVersion' | 'id' | 'pid' | 'bundle' | 'annotations'>,
  status: Status,
): Record<string, unknown> {
  const { ociVersion, id, pid, bundle, annotations } = state
  return {
    ociVersion,
    id,
    status,
    // Of one that has stopped there is none.
    pid: status === 'stopped' ? 0 : pid,
    bundle,
    annotations,
  }
}
