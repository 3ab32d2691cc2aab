/**
 * Limits: a cgroup per container, in version 2, version 1 or both beside each other ("hybrid").
 *
 * One directory `tsbuild/<id>.<owner>` in each hierarchy that a limit needs; without limits none is
 * made. The owner is our process and its start time, so what a killed one left is recognized and
 * removed by the next run. All calls are synchronous: they take microseconds.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { cgroupHierarchies, type Hierarchies } from './cgroup-hierarchies.ts'
import { ownerMark, removeCgroup, removeLeftovers } from './cgroup-leftovers.ts'
import type { Limits } from './spec.ts'

export interface Cgroup extends Disposable {
  /** Files that take a process in. */
  readonly procs: readonly string[]
  /** Whether /sys/fs/cgroup of a container can be the version 2 hierarchy. */
  readonly unified: boolean
  /** Whether the kernel killed one of its processes for want of memory. */
  outOfMemory(): boolean
}

/** Throws `unsupported`, naming the limit, when one that is asked for cannot be set. */
export function createCgroup(
  id: string,
  limits: Limits,
  hierarchies: Hierarchies = cgroupHierarchies(),
): Cgroup {
  const unified = hierarchies.v2 !== undefined && Object.keys(hierarchies.v1).length === 0
  for (const parent of ourParents(hierarchies)) removeLeftovers(parent)
  const directories = new Map<string, string>()
  const remove = () => {
    for (const directory of new Set(directories.values())) removeCgroup(directory)
  }
  try {
    for (const setting of settingsFor(limits)) {
      const place = placeOf(setting, hierarchies)
      const directory = join(place.parent, `${id.replace(/[^\w-]/g, '_')}.${ownerMark()}`)
      directories.set(setting.controller, directory)
      inWords(setting, () => apply(place, directory))
    }
  } catch (error) {
    remove()
    throw error
  }
  return {
    procs: [...new Set(directories.values())].map(directory => join(directory, 'cgroup.procs')),
    unified,
    outOfMemory: () => countKills(directories.get('memory')) > 0,
    [Symbol.dispose]: remove,
  }
}

/** Wherever an earlier run may have made cgroups, whatever this one needs. */
function ourParents({ v1, v2 }: Hierarchies): Set<string> {
  const { memory, cpu, pids } = v1
  const mounts = [v2, memory, cpu, pids].filter(mount => mount !== undefined)
  return new Set(mounts.map(mount => join(mount, 'tsbuild')))
}

/** Files to write, in order; what an optional one lacks is no error. */
type Values = readonly (readonly [file: string, value: number | string, need?: 'optional'])[]

interface Setting {
  readonly controller: 'memory' | 'cpu' | 'pids'
  readonly v1: Values
  readonly v2: Values
}

/** Microseconds over which `cpus` is measured. */
const cpuPeriod = 100_000

function settingsFor({ memory, cpus, pids }: Limits): Setting[] {
  const settings: Setting[] = []
  if (memory !== undefined) {
    // As much again in swap, as Docker; version 1 counts both together.
    settings.push({
      controller: 'memory',
      v1: [
        ['memory.limit_in_bytes', memory],
        ['memory.memsw.limit_in_bytes', 2 * memory, 'optional'],
      ],
      v2: [
        ['memory.max', memory],
        ['memory.swap.max', memory, 'optional'],
      ],
    })
  }
  if (cpus !== undefined) {
    const quota = Math.round(cpus * cpuPeriod)
    settings.push({
      controller: 'cpu',
      v1: [
        ['cpu.cfs_period_us', cpuPeriod],
        ['cpu.cfs_quota_us', quota],
      ],
      v2: [['cpu.max', `${quota} ${cpuPeriod}`]],
    })
  }
  if (pids !== undefined) {
    const values: Values = [['pids.max', pids]]
    settings.push({ controller: 'pids', v1: values, v2: values })
  }
  return settings
}

interface Place {
  readonly parent: string
  readonly values: Values
  /** Version 2 hands controllers down level by level. */
  readonly enable?: { readonly root: string; readonly controller: string }
}

function placeOf({ controller, v1, v2 }: Setting, hierarchies: Hierarchies): Place {
  const classic = hierarchies.v1[controller]
  if (classic !== undefined) return { parent: join(classic, 'tsbuild'), values: v1 }
  const root = hierarchies.v2
  if (root !== undefined && words(join(root, 'cgroup.controllers')).includes(controller)) {
    return { parent: join(root, 'tsbuild'), values: v2, enable: { root, controller } }
  }
  throw new OciError('unsupported', `Cannot limit ${controller}: no such cgroup controller here`, {
    hint: `mount a cgroup hierarchy that has "${controller}", or run without this limit`,
  })
}

function words(file: string): string[] {
  return readFileSync(file, 'utf8').trim().split(/\s+/)
}

function apply({ parent, values, enable }: Place, directory: string): void {
  mkdirSync(parent, { recursive: true })
  if (enable !== undefined) {
    for (const level of [enable.root, parent]) {
      if (words(join(level, 'cgroup.subtree_control')).includes(enable.controller)) continue
      writeFileSync(join(level, 'cgroup.subtree_control'), `+${enable.controller}`)
    }
  }
  mkdirSync(directory, { recursive: true })
  for (const [file, value, need] of values) {
    try {
      writeFileSync(join(directory, file), String(value))
    } catch (error) {
      if (need !== 'optional' || !(hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')))
        throw error
    }
  }
}

function inWords(setting: Setting, work: () => void): void {
  try {
    work()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new OciError('unsupported', `Cannot limit ${setting.controller}: ${why}`, {
      cause,
      ...((['EACCES', 'EPERM', 'EROFS'] as const).some(code => hasCode(cause, code))
        ? { hint: 'cgroups are writable for root only: run as root, or without this limit' }
        : {}),
    })
  }
}

/** How often the kernel's out-of-memory killer struck in the cgroup at `directory`. */
function countKills(directory: string | undefined): number {
  if (directory === undefined) return 0
  for (const file of ['memory.events', 'memory.oom_control']) {
    try {
      const count = /^oom_kill (\d+)$/m.exec(readFileSync(join(directory, file), 'utf8'))?.[1]
      if (count !== undefined) return Number(count)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
  }
  return 0
}
