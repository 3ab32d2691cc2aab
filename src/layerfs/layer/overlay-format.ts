/**
 * How a layer lies on disk: overlayfs's own format.
 *
 *   whiteout            character device 0:0; where files are copied and the kernel makes no such
 *                       device, being on an overlay itself, a socket that nobody may use: no layer
 *                       has sockets
 *   opaque directory    PREFIX.opaque = "y"
 *   xattr of an image   PREFIX.x is stored as PREFIX.overlay.x: the kernel (≥ 6.7) shows it as
 *                       PREFIX.x again, and it never becomes an instruction to our own mount
 *
 * PREFIX is `trusted.overlay`; inside a user namespace, where nobody may set those,
 * `user.overlay`, which wants the mount option `userxattr`.
 */
import { readFileSync } from 'node:fs'
import { hasCode } from '../../oci/errors.ts'
import { type FileStat, syscalls } from '../native/syscalls.ts'
import { fileType, typeMask } from './file-type.ts'
import { overlayUse } from './overlay-use.ts'
import { bytesOf } from './path-bytes.ts'

/** Names by which a tar speaks of what a layer hides. Spec: image-spec layer.md, Whiteouts. */
export const whiteoutPrefix = '.wh.'
export const opaqueMarker = '.wh..wh..opq'
/** Names that aufs kept for itself; none of them is content. */
export const aufsPrefix = '.wh..wh.'

export interface OverlayFormat {
  readonly xattrPrefix: 'trusted.overlay.' | 'user.overlay.'
}

/** The format that this process can write and mount. */
export function overlayFormat(): OverlayFormat {
  return { xattrPrefix: isInUserNamespace() ? 'user.overlay.' : 'trusted.overlay.' }
}

/** The initial namespace maps every id to itself. */
export function isInUserNamespace(): boolean {
  return idMap() !== '0 0 4294967295'
}

/** Whether this user namespace knows one user only: nobody set up ranges for it. */
export function hasSingleId(): boolean {
  return /^\d+ \d+ 1$/.test(idMap())
}

let knownIdMap: string | undefined

/** Asked for once: Node's threads keep a process in the namespace that it began in. */
function idMap(): string {
  knownIdMap ??= readFileSync('/proc/self/uid_map', 'latin1').trim().replace(/\s+/g, ' ')
  return knownIdMap
}

export function isWhiteout({ mode, rdevMajor, rdevMinor }: FileStat): boolean {
  if (mode === fileType.socket) return overlayUse() === 'copy'
  return (mode & typeMask) === fileType.characterDevice && rdevMajor === 0 && rdevMinor === 0
}

/** Throws EEXIST. */
export function makeWhiteout(dirFd: number, name: string): void {
  try {
    syscalls().mknodat(dirFd, bytesOf(name), [fileType.characterDevice, 0, 0])
  } catch (error) {
    if (!hasCode(error, 'EPERM') || overlayUse() === 'overlay') throw error
    syscalls().mknodat(dirFd, bytesOf(name), [fileType.socket, 0, 0])
  }
}
