/**
 * Where this machine's cgroup hierarchies are mounted. "Hybrid" machines have version 1
 * controllers beside a version 2 hierarchy without those; each controller has one place.
 */
import { readFileSync } from 'node:fs'

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
