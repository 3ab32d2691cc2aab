/**
 * The processes of a container that runs, as the host has them: by its cgroup, or, where it has
 * none of its own, by its process namespace.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { processesIn } from '../oci-runtime/container-cgroup.ts'
import { type ContainerCgroup, freeze, isFrozen } from '../oci-runtime/freezer.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import { processStart } from '../sandbox/process-start.ts'
import type { Container } from './container-list.ts'

/** The number of its first process. Throws `conflict`, saying what could not be done, when it has ended. */
export function firstProcess({ id, isRunning, record }: Container, action: string): number {
  const process = isRunning ? record?.process : undefined
  if (process !== undefined && processStart(process.pid) === process.start) return process.pid
  throw notRunning(id, action)
}

function notRunning(id: string, action: string): OciError {
  return new OciError(
    'conflict',
    `Cannot ${action} container ${id.slice(0, 12)}: it is not running`,
  )
}

/** `undefined` when the container ended while it was looked at: its files in /proc and cgroups are gone. */
function unlessEnded<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    const gone = ['ENOENT', 'ENODEV', 'ESRCH'] as const
    if (gone.some(code => hasCode(error, code))) return undefined
    throw error
  }
}

/** The cgroups that were made for it alone; none where nobody could make any. */
export function ownCgroup(pid: number): ContainerCgroup {
  const { v1, v2 } = cgroupHierarchies()
  const classic: Record<string, string> = {}
  let unified: string | undefined
  for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    // Named by its owner: others are shared, or the machine's.
    const [own] = /^.*\/tsbuild\/[^/]+\.\d+\.\d+(?=\/|$)/.exec(path) ?? []
    if (own === undefined) continue
    if (controllers === '' && v2 !== undefined) unified = join(v2, own)
    for (const name of controllers.split(',')) {
      const mount = v1[name]
      if (mount !== undefined) classic[name] = join(mount, own)
    }
  }
  return { ...(unified === undefined ? {} : { unified }), classic }
}

/** All of them, outside. Throws `conflict` when it has ended. */
export function containerProcesses(container: Container, action: string): number[] {
  const pid = firstProcess(container, action)
  const found = unlessEnded(() => {
    const { unified } = ownCgroup(pid)
    return unified === undefined ? sharingNamespace(pid) : processesIn(unified)
  })
  if (found === undefined) throw notRunning(container.id, action)
  return found
}

function sharingNamespace(pid: number): number[] {
  const namespace = namespaceOf(String(pid))
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && namespaceOf(name) === namespace)
    .map(Number)
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch (error) {
    // Ended, or of another user: none of ours.
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EACCES') || hasCode(error, 'ESRCH')) return
    throw error
  }
}

/** Throws `conflict` when it has ended or is so already, `unsupported` without a cgroup that can. */
export function setPaused(container: Container, wanted: 'paused' | 'running'): void {
  const action = wanted === 'paused' ? 'pause' : 'unpause'
  const pid = firstProcess(container, action)
  const name = container.id.slice(0, 12)
  const isDone = unlessEnded(() => {
    const cgroup = ownCgroup(pid)
    if (cgroup.unified === undefined && cgroup.classic['freezer'] === undefined) {
      throw new OciError('unsupported', `Cannot ${action} container ${name}: it has no cgroup`, {
        hint: 'That takes root or a delegated cgroup, and version 2 of cgroups mounted',
      })
    }
    if (isFrozen(cgroup) === (wanted === 'paused')) {
      const state = wanted === 'paused' ? 'paused already' : 'not paused'
      throw new OciError('conflict', `Cannot ${action} container ${name}: it is ${state}`)
    }
    freeze(cgroup, wanted === 'paused')
    return true
  })
  if (isDone === undefined) throw notRunning(container.id, action)
}

export function isPaused({ isRunning, record }: Container): boolean {
  const process = isRunning ? record?.process : undefined
  return process !== undefined && (unlessEnded(() => isFrozen(ownCgroup(process.pid))) ?? false)
}

/** So that it hears what it was sent. */
export function thaw(container: Container): void {
  const process = container.isRunning ? container.record?.process : undefined
  if (process === undefined || !isPaused(container)) return
  unlessEnded(() => freeze(ownCgroup(process.pid), false))
}
