/**
 * Limits: a cgroup per container, in version 2, version 1 or both beside each other ("hybrid").
 *
 * One directory `tsbuild/<id>.<owner>` in each hierarchy that a limit needs. The owner is our
 * process and its start time, so what a killed one left is recognized and removed by the next run.
 * All calls are synchronous: they take microseconds.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { boundDevices, type DeviceBound, makeUnified } from './cgroup-devices.ts'
import { type Hierarchies, usableHierarchies } from './cgroup-hierarchies.ts'
import { ownerMark, removeCgroup, removeLeftoversNowAndThen } from './cgroup-leftovers.ts'
import { applySetting, placeOf } from './cgroup-place.ts'
import { cgroupSettings } from './cgroup-settings.ts'
import type { DeviceRule } from './device-rules.ts'
import type { Limits } from './spec.ts'

export interface Cgroup extends Disposable {
  /** The directory of version 2 that it begins in: what bounds, freezes, counts and kills it. */
  readonly first: string | undefined
  /** Files that take a process in, beyond that. */
  readonly procs: readonly string[]
  /** What bounds the devices; `undefined`: nothing is to. */
  readonly devices: DeviceBound | undefined
  /** Whether /sys/fs/cgroup of a container can be the version 2 hierarchy. */
  readonly unified: boolean
  /** Those of this container alone. */
  readonly directories: readonly string[]
  /** The file that counts how often memory ran out, where memory is limited. */
  readonly memoryEvents: string | undefined
  /** Whether the kernel killed one of its processes for want of memory. */
  outOfMemory(): boolean
}

/** What a container may use. */
export interface Bounds {
  readonly limits: Limits
  /** Devices beyond the default ones, or all there are. */
  readonly devices: 'all' | readonly DeviceRule[]
}

/** Throws `unsupported`, naming the limit, when one that is asked for cannot be set. */
export function createCgroup(
  id: string,
  { limits, devices }: Bounds,
  hierarchies: Hierarchies = usableHierarchies(),
): Cgroup {
  for (const parent of ourParents(hierarchies)) removeLeftoversNowAndThen(parent)
  const name = `${id.replace(/[^\w-]/g, '_')}.${ownerMark()}`
  const directories = new Map<string, string>()
  const remove = () => {
    for (const directory of new Set(directories.values())) removeCgroup(directory)
  }
  try {
    for (const setting of cgroupSettings(limits)) {
      const place = placeOf(setting, `tsbuild/${name}`, hierarchies)
      directories.set(setting.controller, place.directory)
      applySetting(place)
    }
    const bound =
      devices === 'all' ? undefined : boundDevices({ rules: devices, name }, hierarchies)
    const shared = bound?.kind === 'shared' ? [bound.directory] : []
    if (bound?.kind === 'own') directories.set('devices', bound.directory)
    const first = bound?.kind === 'filtered' ? bound.directory : makeUnified(name, hierarchies)
    if (first !== undefined) directories.set('first', first)
    const entered = new Set([...directories.values(), ...shared].filter(path => path !== first))
    const memoryEvents = eventsFile(directories.get('memory'))
    return {
      first,
      directories: [...new Set(directories.values())],
      memoryEvents,
      procs: [...entered].map(directory => join(directory, 'cgroup.procs')),
      devices: bound,
      unified: hierarchies.v2 !== undefined && Object.keys(hierarchies.v1).length === 0,
      outOfMemory: () => countKills(memoryEvents) > 0,
      [Symbol.dispose]: remove,
    }
  } catch (error) {
    remove()
    throw error
  }
}

/** Wherever an earlier run may have made cgroups, whatever this one needs. */
function ourParents({ v1, v2 }: Hierarchies): Set<string> {
  const { memory, cpu, cpuset, pids, devices, blkio } = v1
  const mounts = [v2, memory, cpu, cpuset, pids, devices, blkio].filter(
    mount => mount !== undefined,
  )
  return new Set(mounts.map(mount => join(mount, 'tsbuild')))
}

function eventsFile(directory: string | undefined): string | undefined {
  if (directory === undefined) return undefined
  const files = ['memory.events', 'memory.oom_control'].map(name => join(directory, name))
  return files.find(file => existsSync(file))
}

/** How often the kernel's out-of-memory killer struck, by the file that counts it. */
function countKills(file: string | undefined): number {
  if (file === undefined) return 0
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0)
}
