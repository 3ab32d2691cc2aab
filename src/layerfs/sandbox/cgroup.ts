/**
 * Limits: a cgroup per container, in version 2, version 1 or both beside each other ("hybrid").
 *
 * One directory `tsbuild/<id>.<owner>` in each hierarchy that a limit needs. The owner is our
 * process and its start time, so what a killed one left is recognized and removed by the next run.
 * All calls are synchronous: they take microseconds.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { boundDevices, type DeviceBound } from './cgroup-devices.ts'
import { cgroupHierarchies, type Hierarchies } from './cgroup-hierarchies.ts'
import { ownerMark, removeCgroup, removeLeftovers } from './cgroup-leftovers.ts'
import { cgroupSettings, type Setting, type Value } from './cgroup-settings.ts'
import type { DeviceRule } from './device-rules.ts'
import type { Limits } from './spec.ts'

export interface Cgroup extends Disposable {
  /** Files that take a process in, beyond the cgroup that it begins in for its devices. */
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
  hierarchies: Hierarchies = cgroupHierarchies(),
): Cgroup {
  for (const parent of ourParents(hierarchies)) removeLeftovers(parent)
  const name = `${id.replace(/[^\w-]/g, '_')}.${ownerMark()}`
  const directories = new Map<string, string>()
  const remove = () => {
    for (const directory of new Set(directories.values())) removeCgroup(directory)
  }
  try {
    for (const setting of cgroupSettings(limits)) {
      const place = placeOf(setting, hierarchies)
      const directory = join(place.parent, name)
      directories.set(setting.controller, directory)
      apply(place, directory)
    }
    const bound =
      devices === 'all' ? undefined : boundDevices({ rules: devices, name }, hierarchies)
    const shared = bound?.kind === 'shared' ? [bound.directory] : []
    if (bound?.kind === 'own' || bound?.kind === 'filtered') {
      directories.set('devices', bound.directory)
    }
    const first = bound?.kind === 'filtered' ? bound.directory : undefined
    const entered = new Set([...directories.values(), ...shared].filter(path => path !== first))
    const memoryEvents = eventsFile(directories.get('memory'))
    return {
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

interface Place {
  readonly setting: Setting
  readonly parent: string
  readonly values: readonly Value[]
  /** Files of version 1 that a new directory takes from the one above. */
  readonly inherited: readonly string[]
  /** Version 2 hands controllers down level by level. */
  readonly enable?: { readonly root: string; readonly controller: string }
}

function placeOf(setting: Setting, hierarchies: Hierarchies): Place {
  const { controller, v1, v2, inherited = [] } = setting
  const classic = hierarchies.v1[controller]
  if (classic !== undefined) {
    return { setting, parent: join(classic, 'tsbuild'), values: v1, inherited }
  }
  const root = hierarchies.v2
  if (root !== undefined && words(join(root, 'cgroup.controllers')).includes(controller)) {
    const enable = { root, controller }
    return { setting, parent: join(root, 'tsbuild'), values: v2, inherited: [], enable }
  }
  const limits = [...new Set(v1.map(({ limit }) => limit))].join(', ')
  throw new OciError(
    'unsupported',
    `Cannot limit ${limits}: no cgroup controller "${controller}"`,
    {
      hint: `Mount a cgroup hierarchy that has "${controller}", or run without this limit`,
    },
  )
}

function words(file: string): string[] {
  return readFileSync(file, 'utf8').trim().split(/\s+/)
}

function apply(place: Place, directory: string): void {
  inWords(place.setting.controller, () => makeDirectory(place, directory))
  for (const { file, value, limit, need } of place.values) {
    try {
      inWords(limit, () => writeFileSync(join(directory, file), String(value)))
    } catch (error) {
      const { cause } = error as Error
      if (need !== 'optional' || !(hasCode(cause, 'ENOENT') || hasCode(cause, 'EACCES')))
        throw error
    }
  }
}

function makeDirectory({ parent, enable, inherited }: Place, directory: string): void {
  mkdirSync(parent, { recursive: true })
  if (enable !== undefined) {
    for (const level of [enable.root, parent]) {
      if (words(join(level, 'cgroup.subtree_control')).includes(enable.controller)) continue
      writeFileSync(join(level, 'cgroup.subtree_control'), `+${enable.controller}`)
    }
  }
  mkdirSync(directory, { recursive: true })
  for (const level of [parent, directory]) {
    for (const file of inherited) inherit(level, file)
  }
}

function inherit(level: string, file: string): void {
  if (readFileSync(join(level, file), 'utf8').trim() !== '') return
  writeFileSync(join(level, file), readFileSync(join(dirname(level), file), 'utf8').trim())
}

function inWords(limit: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new OciError('unsupported', `Cannot limit ${limit}: ${why}`, {
      cause,
      ...((['EACCES', 'EPERM', 'EROFS'] as const).some(code => hasCode(cause, code))
        ? { hint: 'Cgroups are writable for root only: run as root, or without this limit' }
        : {}),
    })
  }
}

/** Wherever an earlier run may have made cgroups, whatever this one needs. */
function ourParents({ v1, v2 }: Hierarchies): Set<string> {
  const { memory, cpu, cpuset, pids, devices } = v1
  const mounts = [v2, memory, cpu, cpuset, pids, devices].filter(mount => mount !== undefined)
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
