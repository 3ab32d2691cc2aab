/**
 * The cgroup of a bundle's container: one path, in each hierarchy that something is asked of.
 *
 * Version 2, where it is mounted, has every container: it bounds devices, lists, freezes and kills.
 * Of version 1 only those hierarchies are entered that a limit needs, as each costs the kernel ten
 * milliseconds; without version 2, also those of devices and of the freezer.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join, posix } from 'node:path'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import type { Hierarchies } from '../sandbox/cgroup-hierarchies.ts'
import { removeCgroup } from '../sandbox/cgroup-leftovers.ts'
import { applySetting, placeOf } from '../sandbox/cgroup-place.ts'
import type { Setting } from '../sandbox/cgroup-settings.ts'
import { type DeviceRule, deviceProgram, deviceRuleLine } from '../sandbox/device-rules.ts'
import type { ContainerCgroup } from './freezer.ts'

export interface CgroupWishes {
  readonly path: string
  readonly settings: readonly Setting[]
  readonly devices: 'all' | readonly DeviceRule[]
}

export interface MadeCgroup extends ContainerCgroup {
  /** For the native program to attach to `unified`. */
  readonly program?: Uint8Array
  /** Whether mounts must bound the devices, as no cgroup does. */
  readonly boundsNothing: boolean
}

/** Below a hierarchy's mount point, whatever `path` says. Throws `invalid` for systemd's form. */
export function cgroupPath(path: string | undefined, id: string): string {
  if (path === undefined || path === '') return `/tsrun-oci/${id}`
  if (path.includes(':')) {
    throw new OciError(
      'unsupported',
      `Cannot run the bundle: linux.cgroupsPath: "${printable(path)}" asks systemd for a cgroup`,
      { hint: 'Use the cgroup manager "cgroupfs": podman --cgroup-manager cgroupfs' },
    )
  }
  const plain = posix.resolve('/', path)
  if (plain === '/')
    throw new OciError('invalid', 'Cannot run the bundle: linux.cgroupsPath is the root')
  return plain
}

/**
 * Throws `unsupported`, naming the limit, when one that is asked for cannot be set, `conflict` when
 * others are in the cgroup. Leaves none then.
 */
export function makeContainerCgroup(wishes: CgroupWishes, hierarchies: Hierarchies): MadeCgroup {
  const classic: Record<string, string> = {}
  const made: { unified?: string; classic: Record<string, string> } = { classic }
  try {
    const unified = makeUnified(wishes.path, hierarchies)
    if (unified !== undefined) made.unified = unified
    for (const setting of wishes.settings) {
      const place = placeOf(setting, wishes.path, hierarchies)
      if (place.root === hierarchies.v2) made.unified = place.directory
      else classic[setting.controller] = place.directory
      applySetting(place)
    }
    return { ...made, ...boundDevices(made, wishes, hierarchies) }
  } catch (error) {
    removeContainerCgroup(made)
    throw error
  }
}

const closed = ['EACCES', 'EPERM', 'EROFS', 'ENOENT'] as const

/** Nothing where it is closed to us, as inside of other containers: a limit then says so itself. */
function makeUnified(path: string, { v2 }: Hierarchies): string | undefined {
  if (v2 === undefined) return undefined
  const directory = join(v2, path)
  try {
    mkdirSync(directory, { recursive: true })
  } catch (error) {
    if (closed.some(code => hasCode(error, code))) return undefined
    throw error
  }
  if (processesIn(directory).length === 0) return directory
  throw new OciError(
    'conflict',
    `Cannot run the bundle: linux.cgroupsPath: processes of others are in "${printable(path)}"`,
  )
}

function boundDevices(
  made: { readonly unified?: string; readonly classic: Record<string, string> },
  { path, devices }: CgroupWishes,
  { v1 }: Hierarchies,
): Pick<MadeCgroup, 'program' | 'boundsNothing'> {
  if (made.unified !== undefined) {
    return {
      boundsNothing: false,
      ...(devices === 'all' ? {} : { program: deviceProgram(devices) }),
    }
  }
  try {
    for (const controller of ['devices', 'freezer']) {
      const root = v1[controller]
      if (root === undefined) continue
      mkdirSync(join(root, path), { recursive: true })
      made.classic[controller] = join(root, path)
    }
    const directory = made.classic['devices']
    if (directory !== undefined && devices !== 'all') {
      writeFileSync(join(directory, 'devices.deny'), 'a')
      for (const rule of devices)
        writeFileSync(join(directory, 'devices.allow'), deviceRuleLine(rule))
    }
    return { boundsNothing: directory === undefined && devices !== 'all' }
  } catch (error) {
    if (closed.some(code => hasCode(error, code))) return { boundsNothing: devices !== 'all' }
    throw error
  }
}

/** Each once, as several controllers may share a hierarchy. */
export function directoriesOf({ unified, classic }: ContainerCgroup): string[] {
  const all = [...(unified === undefined ? [] : [unified]), ...Object.values(classic)]
  return [...new Set(all)]
}

/** Throws `unsupported` where there is no cgroup to ask. */
export function mainDirectory(cgroup: ContainerCgroup, action: string): string {
  const directory = cgroup.unified ?? cgroup.classic['freezer'] ?? directoriesOf(cgroup)[0]
  if (directory !== undefined) return directory
  throw new OciError('unsupported', `Cannot ${action}: the container has no cgroup`)
}

/** Of the cgroup and all below. */
export function processesIn(directory: string): number[] {
  try {
    const own = readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)
    return [...own.map(Number), ...childrenOf(directory).flatMap(processesIn)]
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'EOPNOTSUPP'].some(code => hasCode(error, code as 'ENOENT'))) return []
    throw error
  }
}

function childrenOf(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(({ name }) => join(directory, name))
}

/** To every process in it; none is an error. */
export function signalAll(cgroup: ContainerCgroup, signal: number): void {
  const kill = cgroup.unified === undefined ? undefined : join(cgroup.unified, 'cgroup.kill')
  if (signal === constants.signals.SIGKILL && kill !== undefined && existsSync(kill)) {
    writeFileSync(kill, '1')
    return
  }
  for (const pid of processesIn(mainDirectory(cgroup, 'signal all processes'))) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }
}

/** With what the container has made below; one that others are in stays. */
export function removeContainerCgroup(cgroup: ContainerCgroup): void {
  for (const directory of directoriesOf(cgroup)) removeTree(directory)
}

function removeTree(directory: string): void {
  if (!existsSync(directory)) return
  for (const child of childrenOf(directory)) removeTree(child)
  // Processes of others: podman's monitor has a cgroup below its container's.
  if (processesIn(directory).length === 0) removeCgroup(directory)
}
