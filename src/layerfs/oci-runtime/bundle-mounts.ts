/** `mounts` of a bundle as operations, in their order. */
import { posix, resolve } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import type { Operation } from '../sandbox/operations.ts'
import type { ContainerCgroup } from './freezer.ts'
import { unusedByBinds } from './mount-options.ts'
import type { ConfigMount, RuntimeConfig } from './runtime-config.ts'

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
    if (type === 'bind') return [bindOperation(mount, index, around)]
    if (type === 'cgroup') return cgroupOperations(mount, config, around)
    return [mountOperation(mount)]
  })
}

function bindOperation(
  mount: ConfigMount,
  index: number,
  { bundle }: MountSurroundings,
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
  return [
    'bind-source',
    resolve(bundle, source),
    destination,
    ...[set, clear, setBelow, clearBelow, propagation],
    isRecursive ? 'recursive' : 'plain',
  ]
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
