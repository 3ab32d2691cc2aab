/**
 * Walking to a place that may not exist yet. The kernel resolves only what exists; a destination
 * may lead through a dangling link (`/app` → `/data/app`, still missing), so this walks component
 * by component, as the kernel would with the root as "/".
 */
import { closeSync } from 'node:fs'
import { hasCode, OciError } from '../../oci/errors.ts'
import { type FileStat, resolve, syscalls, type Timestamp } from '../native/syscalls.ts'
import { setOwner } from './attributes.ts'
import { isDirectory, isSymlink, openAs } from './file-type.ts'
import { bytesOf, latin1Of, type SafePath, shown } from './path-bytes.ts'

/** Whether a link at the end of the path is what is meant, or what it points to. */
export type LastLink = 'follow' | 'keep'

export interface DirectoryAttributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Absent: now. */
  readonly time?: Timestamp
}

/** A name in an open directory. `name` is Latin-1; "." when the place is the root itself. */
export interface Place extends Disposable {
  readonly fd: number
  readonly name: string
}

export interface WalkOptions {
  /** Whether a link at the end is what is meant, or what it points to. */
  readonly last: 'follow' | 'keep'
  /** Creates directories that are missing on the way. */
  readonly missing?: DirectoryAttributes | undefined
}

/** As the kernel. */
const maxLinks = 40

interface Step {
  readonly fd: number
  readonly name: string
}

/** The place of `path`; disposing it closes what the walk opened. Throws `not-found`, `invalid`. */
export function walkTo(rootFd: number, path: SafePath, options: WalkOptions): Place {
  const steps: Step[] = []
  try {
    const name = walk(path, { rootFd, steps, options })
    return { fd: steps.at(-1)?.fd ?? rootFd, name, [Symbol.dispose]: () => closeAll(steps) }
  } catch (error) {
    closeAll(steps)
    throw error
  }
}

interface Walk {
  readonly rootFd: number
  /** Directories walked into, the root left out. */
  readonly steps: Step[]
  readonly options: WalkOptions
}

/** Leaves in `steps` the way to the parent; answers the last name. */
function walk(path: SafePath, { rootFd, steps, options }: Walk): string {
  const pending = componentsOf(path).reverse()
  let links = 0
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === '..') {
      closeAll(steps.splice(-1))
      continue
    }
    const here = steps.at(-1)?.fd ?? rootFd
    const isLast = pending.length === 0
    const stat = findAt(here, name)
    if (stat !== undefined && isSymlink(stat) && !(isLast && options.last === 'keep')) {
      links += 1
      if (links > maxLinks) throw new OciError('invalid', `Cannot walk "${shown(path)}": a loop`)
      pending.push(...follow(here, name, steps))
      continue
    }
    if (isLast) return name
    steps.push({ fd: enter(here, name, { stat, missing: options.missing, path }), name })
  }
  return leaveLast(steps)
}

/** The components to walk instead of the link `name`, last first. */
function follow(fd: number, name: string, steps: Step[]): string[] {
  const target = latin1Of(syscalls().readlinkat(fd, bytesOf(name)))
  if (target.startsWith('/')) closeAll(steps.splice(0))
  return componentsOf(target).reverse()
}

/** The walk ended in a directory ("..", or the root): it is a name in the one above. */
function leaveLast(steps: Step[]): string {
  const top = steps.pop()
  if (top !== undefined) closeSync(top.fd)
  return top?.name ?? '.'
}

function componentsOf(path: string): string[] {
  return path.split('/').filter(component => component !== '' && component !== '.')
}

interface Entering {
  readonly stat: FileStat | undefined
  readonly missing: DirectoryAttributes | undefined
  readonly path: SafePath
}

function enter(fd: number, name: string, { stat, missing, path }: Entering): number {
  if (stat === undefined) {
    if (missing === undefined) {
      throw new OciError('not-found', `Cannot find "${shown(path)}" in the image`)
    }
    createDirectory(fd, name, missing)
  } else if (!isDirectory(stat)) {
    throw new OciError(
      'invalid',
      `Cannot walk "${shown(path)}": "${shown(name).slice(1)}" is not a directory`,
    )
  }
  return openDirectoryAt(fd, name)
}

/** A new directory, its attributes exact whatever the umask. Throws EEXIST. */
export function createDirectory(
  fd: number,
  name: string,
  { mode, uid, gid, time }: DirectoryAttributes,
): void {
  const calls = syscalls()
  const bytes = bytesOf(name)
  calls.mkdirat(fd, bytes, 0o700)
  setOwner(fd, name, { uid, gid })
  calls.fchmodat(fd, bytes, mode)
  if (time !== undefined) calls.utimensat(fd, bytes, time)
}

export function openDirectoryAt(fd: number, name: string): number {
  return syscalls().openat2(fd, bytesOf(name), [openAs.directoryNoFollow, 0, resolve.beneath])
}

/** `undefined` when there is no `name`; a last link is not followed. */
export function findAt(fd: number, name: string): FileStat | undefined {
  try {
    return syscalls().statx(fd, bytesOf(name))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function closeAll(steps: readonly Step[]): void {
  for (const { fd } of steps) closeSync(fd)
}
