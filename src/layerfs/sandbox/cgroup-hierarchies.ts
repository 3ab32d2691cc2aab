/**
 * Where this machine's cgroup hierarchies are mounted. "Hybrid" machines have version 1
 * controllers beside a version 2 hierarchy without those; each controller has one place.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isInUserNamespace } from '../layer/overlay-format.ts'

export interface Hierarchies {
  /** Mount point of version 2, if mounted. */
  readonly v2?: string
  /** Mount point by controller: `memory`, `cpu`, `pids`. */
  readonly v1: Readonly<Record<string, string>>
}

export function cgroupHierarchies(
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): Hierarchies {
  const mounts = mountinfo.split('\n').flatMap(line => cgroupMount(line) ?? [])
  const unified = mounts.find(mount => mount.type === 'cgroup2')
  const v1 = mounts
    .filter(mount => mount.type === 'cgroup')
    .flatMap(mount => mount.options.map(option => [option, mount.point] as const))
  return { ...(unified === undefined ? {} : { v2: unified.point }), v1: Object.fromEntries(v1) }
}

let knownUsable: Hierarchies | undefined

/**
 * Those that we may make cgroups in. Without root that is a part of version 2 that was delegated to
 * us, if any: systemd does so for a user's session. Where nothing is, all are told, and closed.
 * Found out once: they are mounted when the machine starts.
 */
export function usableHierarchies(): Hierarchies {
  knownUsable ??= findUsable()
  return knownUsable
}

function findUsable(): Hierarchies {
  const all = cgroupHierarchies()
  if (!isInUserNamespace() || all.v2 === undefined) return all
  const [, own = ''] = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8')) ?? []
  const delegated = own.startsWith('/..') ? undefined : delegatedRoot(all.v2, own)
  return delegated === undefined ? all : { v2: delegated, v1: {} }
}

/**
 * The uppermost directory above `own`, or itself, that is ours: each below `mount` down to `own` may
 * be written to. To be in such a cgroup is what lets a process be moved below another of them.
 */
export function delegatedRoot(mount: string, own: string): string | undefined {
  let found: string | undefined
  for (let directory = join(mount, own); isOurs(directory); directory = dirname(directory)) {
    found = directory
    if (directory === join(mount)) break
  }
  return found
}

/** The three that the kernel's manual has delegated. */
function isOurs(directory: string): boolean {
  try {
    for (const name of ['.', 'cgroup.procs', 'cgroup.subtree_control']) {
      accessSync(join(directory, name), constants.W_OK)
    }
    return true
  } catch {
    return false
  }
}

interface CgroupMount {
  readonly type: string
  readonly point: string
  readonly options: readonly string[]
}

/** `36 31 0:33 ROOT POINT options… - TYPE SOURCE SUPER`, of which the super options name controllers. */
function cgroupMount(line: string): CgroupMount | undefined {
  const [before = '', after = ''] = line.split(' - ')
  const [type = '', , options = ''] = after.split(' ')
  if (type !== 'cgroup' && type !== 'cgroup2') return undefined
  return { type, point: unescapePath(before.split(' ')[4] ?? ''), options: options.split(',') }
}

/** The kernel writes space, tab, newline and backslash as `\040` and the like. */
function unescapePath(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}
