/**
 * Hard links of a tar (row A14): the target is a path inside the root, its own last link not
 * followed. A target that comes later in the tar is waited for.
 */
import { OciError } from '../../oci/errors.ts'
import { type FileStat, syscalls } from '../native/syscalls.ts'
import type { TarEntry } from '../tar/entry.ts'
import { type Attributes, setAttributesAt } from './attributes.ts'
import { isDirectory, isSymlink } from './file-type.ts'
import type { DeadLink } from './layer-format.ts'
import { bytesOf, type SafePath, shown } from './path-bytes.ts'
import type { Spot } from './tree-format.ts'
import { findAt } from './walk-in-root.ts'

export interface PendingLink {
  readonly path: SafePath
  readonly target: SafePath
  readonly entry: TarEntry
}

interface Linking {
  /** Where `path` is or would be; `undefined` when its directory is missing. */
  find(path: SafePath): Spot | undefined
  /** As `find`, creating the directory. What `find` gave before is closed. */
  open(path: SafePath): Spot
  isContent(spot: Spot): boolean
  /** Removes what stands at `spot`, if anything. What `find` gave before is closed. */
  remove(spot: Spot): void
  attributesOf(entry: TarEntry): Attributes
}

/**
 * Whether the target is there, so that the link was made. A directory is none: in one layer alone
 * it may stand where, seen with those below, a link stands.
 */
export function linkFile({ path, target, entry }: PendingLink, linking: Linking): boolean {
  if (findTarget(target, linking) === undefined) return false
  if (path === target) return true
  const to = linking.open(path)
  linking.remove(to)
  // Again: the target may have been what was removed, or below it.
  const from = findTarget(target, linking)
  if (from === undefined) return false
  syscalls().linkat([from.spot.fd, bytesOf(from.spot.name)], [to.fd, bytesOf(to.name)], 0)
  // The entry describes the file again (row A15); a symbolic link's attributes stay its own.
  if (!isSymlink(from.stat)) describeAgain(to, from.stat, linking.attributesOf(entry))
  return true
}

function findTarget(
  target: SafePath,
  linking: Linking,
): { readonly spot: Spot; readonly stat: FileStat } | undefined {
  const spot = linking.find(target)
  if (spot === undefined || !linking.isContent(spot)) return undefined
  const stat = findAt(spot.fd, spot.name)
  return stat === undefined || isDirectory(stat) ? undefined : { spot, stat }
}

function describeAgain(spot: Spot, stat: FileStat, attributes: Attributes): void {
  const isSame =
    stat.uid === attributes.uid &&
    stat.gid === attributes.gid &&
    (stat.mode & 0o7777) === attributes.mode
  // chown would clear the file's capabilities, which a link's entry seldom repeats.
  if (isSame) syscalls().utimensat(spot.fd, bytesOf(spot.name), attributes.mtime)
  else setAttributesAt(spot.fd, spot.name, attributes)
}

/** Throws `invalid` for the first link whose target neither this layer nor one below has. */
export function assertNoDeadLinks(links: readonly DeadLink[]): void {
  const [link] = links
  if (link === undefined) return
  throw new OciError(
    'invalid',
    `Cannot apply layer entry "${shown(link.path)}": it links to "${shown(link.target)}", where there is no file`,
  )
}

/** Tries `links` again until none of them can be made; answers those. */
export function retryLinks(
  links: readonly PendingLink[],
  link: (pending: PendingLink) => boolean,
): PendingLink[] {
  let pending = [...links]
  for (;;) {
    const left = pending.filter(candidate => !link(candidate))
    if (left.length === pending.length) return left
    pending = left
  }
}
