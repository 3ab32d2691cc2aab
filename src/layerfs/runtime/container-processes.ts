/**
 * The processes of a container that runs, as the host has them: by its cgroup, or, where it has
 * none of its own, by its process namespace.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
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
  throw new OciError('conflict', `Cannot ${action} container ${id.slice(0, 12)}: it is not running`)
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
  const { unified } = ownCgroup(pid)
  if (unified !== undefined) return processesIn(unified)
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
  const cgroup = ownCgroup(firstProcess(container, action))
  const name = container.id.slice(0, 12)
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
}

export function isPaused({ isRunning, record }: Container): boolean {
  const process = isRunning ? record?.process : undefined
  if (process === undefined || !existsSync(`/proc/${process.pid}/cgroup`)) return false
  return isFrozen(ownCgroup(process.pid))
}

/** So that it hears what it was sent. */
export function thaw(container: Container): void {
  const process = container.isRunning ? container.record?.process : undefined
  if (process === undefined || !isPaused(container)) return
  freeze(ownCgroup(process.pid), false)
}
