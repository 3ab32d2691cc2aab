/** Copying one entry: what stands at the target is replaced, or refused (C11). */
import { closeSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { atCwd, type FileStat, resolve, syscalls } from '../native/syscalls.ts'
import {
  type Attributes,
  isPortable,
  setAttributesAt,
  setFileAttributes,
  setLinkAttributesAt,
  xattrsAt,
} from './attributes.ts'
import type { Copying, CopySource } from './copy.ts'
import { copyBody } from './copy-body.ts'
import {
  atSymlinkFollow,
  fileType,
  isDirectory,
  isFile,
  isSymlink,
  openAs,
  typeMask,
} from './file-type.ts'
import { bytesOf, shown } from './path-bytes.ts'
import { createDirectory, findAt } from './walk-in-root.ts'

export interface SourceEntry extends CopySource {
  readonly stat: FileStat
}

/** A name in an open directory of the target. */
export interface TargetEntry {
  readonly dirFd: number
  readonly name: string
  /** The same, below the top of the copy. */
  readonly relative: string
}

/** A directory is made, or kept, without its content and its attributes. */
export async function copyEntry(
  source: SourceEntry,
  target: TargetEntry,
  copying: Copying,
): Promise<void> {
  const { stat } = source
  const existing = findAt(target.dirFd, target.name)
  if (isDirectory(stat)) return makeDirectory(target, existing)
  if (existing !== undefined) removeFile(target, existing)
  if (linkToEarlier(source, target, copying)) return
  if (isFile(stat)) await copyRegular(source, target, copying)
  else if (isSymlink(stat)) copyLink(source, target, copying)
  else if ((stat.mode & typeMask) !== fileType.socket) copySpecial(source, target, copying)
  rememberLink(source, target, copying)
}

/** After its content is there: making entries changes a directory's time. */
export function setDirectoryAttributes(
  source: SourceEntry,
  target: TargetEntry,
  copying: Copying,
): void {
  setAttributesAt(target.dirFd, target.name, attributesOf(source, copying))
}

function makeDirectory(target: TargetEntry, existing: FileStat | undefined): void {
  if (existing === undefined) {
    createDirectory(target.dirFd, target.name, { mode: 0o700, uid: 0, gid: 0 })
  } else if (!isDirectory(existing)) {
    throw new OciError('invalid', `cannot copy to non-directory: ${shown(target.name).slice(1)}`)
  }
}

function removeFile({ dirFd, name }: TargetEntry, existing: FileStat): void {
  if (isDirectory(existing)) {
    throw new OciError('invalid', `cannot replace to directory ${shown(name).slice(1)} with file`, {
      hint: 'end the destination with "/" to copy into the directory',
    })
  }
  syscalls().unlinkat(dirFd, bytesOf(name), 0)
}

async function copyRegular(
  source: SourceEntry,
  target: TargetEntry,
  copying: Copying,
): Promise<void> {
  const calls = syscalls()
  const from = calls.openat2(source.dirFd, bytesOf(source.name), [
    openAs.reading,
    0,
    resolve.beneath,
  ])
  try {
    const to = calls.openat2(target.dirFd, bytesOf(target.name), [openAs.creating, 0o600, 0])
    try {
      for (const _ of copyBody(from, to, source.stat.size)) {
        await new Promise(resume => setImmediate(resume))
        copying.options.signal?.throwIfAborted()
      }
      setFileAttributes(to, attributesOf(source, copying))
    } finally {
      closeSync(to)
    }
  } finally {
    closeSync(from)
  }
}

function copyLink(source: SourceEntry, target: TargetEntry, copying: Copying): void {
  const calls = syscalls()
  const link = calls.readlinkat(source.dirFd, bytesOf(source.name))
  calls.symlinkat(link, target.dirFd, bytesOf(target.name))
  setLinkAttributesAt(target.dirFd, target.name, attributesOf(source, copying))
}

function copySpecial(source: SourceEntry, target: TargetEntry, copying: Copying): void {
  const { mode, rdevMajor, rdevMinor } = source.stat
  const node = [(mode & typeMask) | 0o600, rdevMajor, rdevMinor] as const
  syscalls().mknodat(target.dirFd, bytesOf(target.name), node)
  setAttributesAt(target.dirFd, target.name, attributesOf(source, copying))
}

function attributesOf(source: SourceEntry, { options }: Copying): Attributes {
  const { stat } = source
  const permissions = stat.mode & 0o7777
  return {
    mode: options.mode?.(permissions, isDirectory(stat)) ?? permissions,
    uid: options.owner?.uid ?? stat.uid,
    gid: options.owner?.gid ?? stat.gid,
    mtime: stat.mtime,
    xattrs: xattrsAt(source.dirFd, source.name).filter(({ name }) => isPortable(name)),
  }
}

function linkKey({ devMajor, devMinor, ino }: FileStat): string {
  return `${devMajor}:${devMinor}:${ino}`
}

function linkToEarlier(source: SourceEntry, target: TargetEntry, copying: Copying): boolean {
  const { links, topFd } = copying
  const earlier = source.stat.links > 1 ? links.get(linkKey(source.stat)) : undefined
  if (earlier === undefined) return false
  const inside = resolve.beneath | resolve.noSymlinks
  const fd = syscalls().openat2(topFd, bytesOf(earlier), [openAs.anything, 0, inside])
  try {
    const path = `/proc/self/fd/${fd}`
    syscalls().linkat([atCwd, path], [target.dirFd, bytesOf(target.name)], atSymlinkFollow)
  } finally {
    closeSync(fd)
  }
  return true
}

function rememberLink(source: SourceEntry, target: TargetEntry, { links }: Copying): void {
  if (source.stat.links > 1) links.set(linkKey(source.stat), target.relative)
}
