/**
 * Copying trees from one root into another: what COPY and ADD do with files (rows C04–C23).
 *
 * A directory's contents are copied, not the directory itself. A link at the end of either path is
 * followed inside its own root; links within the tree stay links. Existing directories are merged
 * into, existing files replaced, and a directory never becomes a file or the other way round.
 */
import { closeSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { type Name, syscalls } from '../native/syscalls.ts'
import type { Found } from './compare-files.ts'
import { openTarget } from './copy-frame.ts'
import type { CopyOptions } from './copy-options.ts'
import { notADirectory, TreeCopier } from './copy-tree.ts'
import { isDirectory, openAs } from './file-type.ts'
import { latin1Of, parentOf, safePath, shown } from './path-bytes.ts'
import type { Root } from './rootfs.ts'
import { type DirectoryAttributes, findAt, openDirectoryAt } from './walk-in-root.ts'

export interface CopyEnd {
  readonly root: Root
  readonly path: Name
}

export interface Copied {
  /** Files, links and directories that were written. */
  readonly entries: number
}

/**
 * Copies `from` to exactly `to`. Directories missing above `to`, and `to` itself, are created with
 * `impliedMode` and the owner given, else root's.
 *
 * Throws `not-found` when there is no source, `invalid` where a directory and a file would replace
 * each other. What was copied until then stays.
 */
export function copyTree(from: CopyEnd, to: CopyEnd, options: CopyOptions = {}): Copied {
  using source = from.root.openParent(from.path, options.sourceLink ?? 'follow')
  const stat = findAt(source.fd, source.name)
  if (stat === undefined) {
    throw new OciError('not-found', `Cannot copy "${shown(latin1Of(from.path))}": not found`)
  }
  const implied = {
    mode: options.impliedMode ?? 0o755,
    uid: options.owner?.uid ?? 0,
    gid: options.owner?.gid ?? 0,
    ...(options.mtime === undefined ? {} : { time: options.mtime }),
  }
  const found: Found = { fd: source.fd, name: source.name, stat }
  return isDirectory(stat)
    ? copyContents(found, to, { options, implied })
    : copyOne(found, to, { options, implied })
}

interface Manner {
  readonly options: CopyOptions
  readonly implied: DirectoryAttributes
}

function copyContents(found: Found, to: CopyEnd, { options, implied }: Manner): Copied {
  const existing = to.root.find(to.path, 'follow')
  if (existing !== undefined && !isDirectory(existing)) throw notADirectory(safePath(to.path))
  const wasCreated = to.root.mkdirs(to.path, implied)
  const targetFd = openTargetOf(to, wasCreated)
  const sourceFd = openDirectoryAt(found.fd, found.name)
  try {
    const { openInLayer } = to.root
    const destination = { options, destination: safePath(to.path), openInLayer }
    const copier = new TreeCopier(targetFd, destination)
    // A directory that was there keeps what it has, its time too (C12); a new one gets `implied`.
    const time = wasCreated ? implied.time : syscalls().statx(targetFd, '').mtime
    copier.copyContents(sourceFd, openTarget(targetFd))
    if (time !== undefined) syscalls().utimensat(targetFd, '', time)
    return { entries: copier.entries }
  } finally {
    closeSync(sourceFd)
    closeSync(targetFd)
  }
}

/** What was made just now is filled where that is the fastest. */
function openTargetOf({ root, path }: CopyEnd, wasCreated: boolean): number {
  const fd = root.open(path, openAs.directory)
  const layer = wasCreated ? root.openInLayer(fd) : undefined
  if (layer !== undefined) closeSync(fd)
  return layer ?? fd
}

function copyOne(found: Found, to: CopyEnd, { options, implied }: Manner): Copied {
  using place = to.root.openParent(to.path, 'follow', implied)
  const parent = syscalls().statx(place.fd, '')
  const copier = new TreeCopier(place.fd, { options, destination: parentOf(safePath(to.path)) })
  copier.copyFile(found, { target: openTarget(place.fd), name: place.name })
  syscalls().utimensat(place.fd, '', parent.mtime)
  return { entries: copier.entries }
}
