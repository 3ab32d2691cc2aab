/** File types in a mode, as stat(2) has them, and flags of the *at calls that Node does not name. */
import { constants } from 'node:fs'
import { openFlags } from '../native/syscalls.ts'

export const typeMask: number = constants.S_IFMT

type FileType =
  | 'fifo'
  | 'characterDevice'
  | 'directory'
  | 'blockDevice'
  | 'file'
  | 'symlink'
  | 'socket'

export const fileType: Readonly<Record<FileType, number>> = {
  fifo: constants.S_IFIFO,
  characterDevice: constants.S_IFCHR,
  directory: constants.S_IFDIR,
  blockDevice: constants.S_IFBLK,
  file: constants.S_IFREG,
  symlink: constants.S_IFLNK,
  socket: constants.S_IFSOCK,
}

export const atRemoveDir = 0x200

type Purpose =
  | 'directory'
  | 'directoryNoFollow'
  | 'listing'
  | 'anything'
  | 'anythingFollowed'
  | 'reading'
  | 'creating'

/** None leaks into a child; none but `anythingFollowed` and `directory` follows a last link. */
export const openAs: Readonly<Record<Purpose, number>> = {
  directory: openFlags.path | constants.O_DIRECTORY | openFlags.closeOnExec,
  directoryNoFollow:
    openFlags.path | constants.O_DIRECTORY | constants.O_NOFOLLOW | openFlags.closeOnExec,
  listing:
    constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | openFlags.closeOnExec,
  /** Whatever it is, without opening it: no device reacts, no FIFO blocks. */
  anything: openFlags.path | constants.O_NOFOLLOW | openFlags.closeOnExec,
  anythingFollowed: openFlags.path | openFlags.closeOnExec,
  /** O_NONBLOCK: should it be a FIFO after all, the open returns. */
  reading: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | openFlags.closeOnExec,
  creating:
    constants.O_WRONLY |
    constants.O_CREAT |
    constants.O_EXCL |
    constants.O_NOFOLLOW |
    openFlags.closeOnExec,
}

export function isDirectory(stat: { readonly mode: number }): boolean {
  return (stat.mode & typeMask) === fileType.directory
}

export function isFile(stat: { readonly mode: number }): boolean {
  return (stat.mode & typeMask) === fileType.file
}

export function isSymlink(stat: { readonly mode: number }): boolean {
  return (stat.mode & typeMask) === fileType.symlink
}

export function isSocket(stat: { readonly mode: number }): boolean {
  return (stat.mode & typeMask) === fileType.socket
}
