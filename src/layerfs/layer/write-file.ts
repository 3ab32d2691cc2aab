/** A new file with given content inside a filesystem state, in place of a file that stands there. */
import { closeSync, writeSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { setFileAttributes } from './attributes.ts'
import type { CopyEnd } from './copy.ts'
import { isDirectory, openAs } from './file-type.ts'
import { bytesOf, shown } from './path-bytes.ts'
import { findAt } from './walk-in-root.ts'

export interface NewFile {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly time: Date
  /** Of directories that are missing above it; absent: 0755. */
  readonly impliedMode?: number
}

/** Missing directories are made. Throws `invalid` when a directory stands there. */
export function writeFileInto(target: CopyEnd, content: Uint8Array, file: NewFile): void {
  const missing = { mode: file.impliedMode ?? 0o755, uid: file.uid, gid: file.gid }
  using place = target.root.openParent(target.path, 'follow', missing)
  const name = bytesOf(place.name)
  const existing = findAt(place.fd, place.name)
  if (existing !== undefined && isDirectory(existing)) {
    throw new OciError(
      'invalid',
      `cannot replace to directory ${shown(place.name).slice(1)} with file`,
    )
  }
  if (existing !== undefined) syscalls().unlinkat(place.fd, name, 0)
  const fd = syscalls().openat2(place.fd, name, [openAs.creating, 0o600, 0])
  try {
    for (let written = 0; written < content.length; ) {
      written += writeSync(fd, content, written)
    }
    const milliseconds = file.time.getTime()
    const seconds = Math.floor(milliseconds / 1000)
    const nanoseconds = (milliseconds - seconds * 1000) * 1_000_000
    setFileAttributes(fd, { ...file, mtime: { seconds, nanoseconds }, xattrs: [] })
  } finally {
    closeSync(fd)
  }
}
