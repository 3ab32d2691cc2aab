/** `mounts` of a bundle as operations, in their order. */
import { posix, resolve } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import type { Operation } from '../sandbox/operation-words.ts'
import type { ContainerCgroup } from './freezer.ts'
import { type LinuxConfig, mapText } from './linux-config.ts'
import { unusedByBinds } from './mount-options.ts'
import type { ConfigMount, IdMaps, RuntimeConfig } from './runtime-config.ts'

export interface MountSurroundings {
  readonly bundle: string
  readonly cgroup: ContainerCgroup
}

/** Throws `unsupported` for options that a bind cannot have. */
export function bundleMounts(config: RuntimeConfig, around: MountSurroundings): Operation[] {
  return config.mounts.flatMap((mount, index) => {
    const { destination, type } = mount
    if (posix.normalize(destination) === '/') {
      throw new OciError(
        'invalid',
        `Cannot run the bundle: mounts[${index}].destination is the root`,
      )
    }
    if (mount.options.isRemount) return [remountOperation(mount, index)]
    if (type === 'bind') return [bindOperation(mount, index, { ...around, linux: config.linux })]
    if (mount.options.mapsIds !== undefined || mount.idMaps !== undefined) {
      throw new OciError(
        'unsupported',
        `Cannot run the bundle: mounts[${index}]: only the ids of binds can be mapped`,
      )
    }
    if (type === 'cgroup') return cgroupOperations(mount, config, around)
    return [mountOperation(mount)]
  })
}

function bindOperation(
  mount: ConfigMount,
  index: number,
  { bundle, linux }: MountSurroundings & { readonly linux: LinuxConfig },
): Operation {
  const { options, source, destination } = mount
  const [unknown] = unusedByBinds(options.data)
  if (unknown !== undefined) {
    throw new OciError(
      'unsupported',
      `Cannot run the bundle: mounts[${index}].options: a bind has no option "${printable(unknown)}"`,
    )
  }
  const { set, clear, setBelow, clearBelow, propagation, isRecursive } = options
  const words = [
    resolve(bundle, source),
    destination,
    ...[set, clear, setBelow, clearBelow, propagation],
    isRecursive ? 'recursive' : 'plain',
  ]
  const maps = idMapsOf(mount, index, linux)
  if (maps === undefined) return ['bind-source', ...words]
  const depth = options.mapsIds === 'below' ? 'recursive' : 'plain'
  return ['mapped-source', ...words, mapText(maps.uidMappings), mapText(maps.gidMappings), depth]
}

/** The mount's own, else those of the container's users. */
function idMapsOf(mount: ConfigMount, index: number, linux: LinuxConfig): IdMaps | undefined {
  if (mount.idMaps !== undefined || mount.options.mapsIds === undefined) return mount.idMaps
  if (linux.uidMappings.length > 0 && linux.gidMappings.length > 0) return linux
  throw new OciError(
    'invalid',
    `Cannot run the bundle: mounts[${index}]: expected uidMappings and gidMappings, as the container has none whose ids could be taken`,
  )
}

/** Throws `unsupported` for what would change the filesystem and not the mount. */
function remountOperation({ destination, options }: ConfigMount, index: number): Operation {
  const [unknown] = unusedByBinds(options.data)
  if (unknown !== undefined) {
    throw new OciError(
      'unsupported',
      `Cannot run the bundle: mounts[${index}].options: a remount has no option "${printable(unknown)}"`,
    )
  }
  return ['remount', destination, options.set, options.clear]
}

function mountOperation({ type, source, destination, options }: ConfigMount): Operation {
  const name = options.copiesUp && type === 'tmpfs' ? 'copied-tmpfs' : 'mount'
  const data = options.data.join(',')
  return [name, type, source, destination, options.set, options.propagation, data]
}

/**
 * The container's own part of each hierarchy it is in. Of version 2 alone, mounted anew, a cgroup
 * namespace shows no more than that; version 1 is a directory of binds.
 */
function cgroupOperations(
  mount: ConfigMount,
  config: RuntimeConfig,
  { cgroup }: MountSurroundings,
): Operation[] {
  const { destination, options } = mount
  const hierarchies = cgroupHierarchies()
  const isAlone = Object.keys(hierarchies.v1).length === 0 && hierarchies.v2 !== undefined
  if (isAlone && config.linux.namespaces.has('cgroup')) {
    return [mountOperation({ ...mount, type: 'cgroup2', options: { ...options, data: [] } })]
  }
  if (isAlone) {
    const own = cgroup.unified ?? hierarchies.v2 ?? '/sys/fs/cgroup'
    return [cgroupBind(own, destination, mount)]
  }
  const parts = Object.entries(cgroup.classic).map(([controller, directory]) => {
    return cgroupBind(directory, `${destination}/${controller}`, mount)
  })
  if (cgroup.unified !== undefined) {
    parts.push(cgroupBind(cgroup.unified, `${destination}/unified`, mount))
  }
  return [
    ['mount', 'tmpfs', 'cgroup', destination, options.set & ~1, options.propagation, 'mode=755'],
    ...parts,
    ...((options.set & 1) === 0 ? [] : [['read-only-path', destination] as const]),
  ]
}

function cgroupBind(source: string, target: string, { options }: ConfigMount): Operation {
  const { set, clear, propagation } = options
  return ['bind-source', source, target, set, clear, 0, 0, propagation, 'plain']
}
