/** Whether the processes of a container's cgroup run; by itself, as every look at a state asks it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OciError } from '../../oci/errors.ts'

/** What is remembered of it: nothing, where none can be made. */
export interface ContainerCgroup {
  /** Absolute path of the directory of version 2. */
  readonly unified?: string
  /** Of those of version 1, by controller; some share a hierarchy. */
  readonly classic: Readonly<Record<string, string>>
}

/** Throws `unsupported` where nothing can freeze. */
export function freeze(cgroup: ContainerCgroup, isFrozen: boolean): void {
  const { unified, classic } = cgroup
  if (unified !== undefined) {
    writeFileSync(join(unified, 'cgroup.freeze'), isFrozen ? '1' : '0')
  } else if (classic['freezer'] !== undefined) {
    writeFileSync(join(classic['freezer'], 'freezer.state'), isFrozen ? 'FROZEN' : 'THAWED')
  } else {
    throw new OciError('unsupported', 'Cannot pause: no cgroup of the container can freeze')
  }
}

export function isFrozen({ unified, classic }: ContainerCgroup): boolean {
  const file =
    unified === undefined
      ? classic['freezer'] && join(classic['freezer'], 'freezer.state')
      : join(unified, 'cgroup.freeze')
  if (file === undefined || !existsSync(file)) return false
  return !['0', 'THAWED'].includes(readFileSync(file, 'utf8').trim())
}
