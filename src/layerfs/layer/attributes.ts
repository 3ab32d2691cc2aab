/**
 * Owner, extended attributes, mode and time of a file, in the one order that works: chown clears
 * setuid and file capabilities, so it comes first; the time comes last because the others touch it.
 */
import { debuglog } from 'node:util'
import { hasCode, OciError } from '../../oci/errors.ts'
import { type FileNumbers, syscalls, type Timestamp } from '../native/syscalls.ts'
import { procPath } from './open-in-root.ts'
import { hasSingleId } from './overlay-format.ts'
import { bytesOf, shown } from './path-bytes.ts'

const debug = debuglog('layerfs/layer')

export interface Xattr {
  readonly name: Buffer
  readonly value: Buffer
}

export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Timestamp
  readonly xattrs: readonly Xattr[]
}

/** Of a file open for writing. */
export function setFileAttributes(fd: number, attributes: Attributes): void {
  const calls = syscalls()
  setOwner(fd, '', attributes)
  for (const { name, value } of attributes.xattrs) {
    tolerating(name, () => calls.fsetxattr(fd, name, value))
  }
  calls.fchmod(fd, attributes.mode)
  calls.utimensat(fd, '', attributes.mtime)
}

const numbers = new Float64Array(6)

/** A new file `name` that is complete: EEXIST where something stands there. */
export function createFileAt(
  dirFd: number,
  name: string,
  { content, attributes }: { readonly content: Uint8Array; readonly attributes: Attributes },
): void {
  const { mode, uid, gid, mtime, xattrs } = attributes
  const values: FileNumbers = [dirFd, mode, uid, gid, mtime.seconds, mtime.nanoseconds]
  numbers.set(values)
  try {
    syscalls().createFile(bytesOf(name), content, numbers)
    if (xattrs.length === 0) return
  } catch (error) {
    // An owner that there is none of here: what can be done about it is known below.
    if (!(error instanceof Error) || !('syscall' in error) || error.syscall !== 'fchown')
      throw error
  }
  setAttributesAt(dirFd, name, attributes)
}

/** Of `name` in an open directory, which must not be a symbolic link. */
export function setAttributesAt(dirFd: number, name: string, attributes: Attributes): void {
  setOwnerAndXattrsAt(dirFd, name, attributes)
  syscalls().fchmodat(dirFd, bytesOf(name), attributes.mode)
  syscalls().utimensat(dirFd, bytesOf(name), attributes.mtime)
}

/** A symbolic link has no mode of its own. */
export function setLinkAttributesAt(dirFd: number, name: string, attributes: Attributes): void {
  setOwnerAndXattrsAt(dirFd, name, attributes)
  syscalls().utimensat(dirFd, bytesOf(name), attributes.mtime)
}

function setOwnerAndXattrsAt(dirFd: number, name: string, attributes: Attributes): void {
  setOwner(dirFd, name, attributes)
  for (const xattr of attributes.xattrs) setXattrAt(dirFd, name, xattr)
}

/**
 * A user namespace has some ids only. Where it has one, every file is its user's: an image is of
 * use like that. Where it has a range, an id outside is a mistake that can be repaired.
 */
export function setOwner(
  dirFd: number,
  name: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): void {
  try {
    syscalls().fchownat(dirFd, bytesOf(name), [uid, gid])
  } catch (error) {
    if (!hasCode(error, 'EINVAL')) throw error
    if (hasSingleId()) {
      debug('skip owner %d:%d: %s', uid, gid, error)
      return
    }
    throw new OciError('unsupported', `Owner ${uid}:${gid} does not exist in this user namespace`, {
      cause: error,
      hint: 'give your user more ids in /etc/subuid and /etc/subgid',
    })
  }
}

export function setXattrAt(dirFd: number, name: string, xattr: Xattr): void {
  const path = procPath(dirFd, name)
  tolerating(xattr.name, () => syscalls().lsetxattr(path, xattr.name, xattr.value))
}

/** Extended attributes of `name`, sorted by name; none where the file system has none. */
export function xattrsAt(dirFd: number, name: string): Xattr[] {
  const path = procPath(dirFd, name)
  try {
    return syscalls()
      .llistxattr(path)
      .sort(Buffer.compare)
      .map(key => ({ name: key, value: syscalls().lgetxattr(path, key) }))
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP')) return []
    throw error
  }
}

/** Owner, mode, time and portable attributes of one directory, given to another. */
export function inheritAttributes(fromFd: number, toFd: number): void {
  setAttributesAt(toFd, '.', attributesOf(fromFd))
}

/** What {@link inheritAttributes} gives, of an open directory. */
export function attributesOf(fd: number): Attributes {
  const { mode, uid, gid, mtime } = syscalls().statx(fd, '')
  const xattrs = xattrsAt(fd, '.').filter(({ name }) => isPortable(name))
  return { mode: mode & 0o7777, uid, gid, mtime, xattrs }
}

/**
 * What an image may carry to another machine: not the labels a security module gave on this one,
 * not what overlayfs wrote for itself.
 */
export function isPortable(name: Buffer): boolean {
  const text = name.toString('latin1')
  return !hostBound.has(text) && !/^(trusted|user)\.overlay\./.test(text)
}

const hostBound = new Set([
  'security.selinux',
  'security.ima',
  'security.evm',
  'security.apparmor',
  'system.nfs4_acl',
])

/**
 * EPERM: `user.*` on a link or device, `trusted.*` and capabilities inside a user namespace.
 * EOPNOTSUPP: a file system without them. The file is worth having without the attribute.
 */
function tolerating(name: Buffer, set: () => void): void {
  try {
    set()
  } catch (error) {
    if (!hasCode(error, 'EPERM') && !hasCode(error, 'EOPNOTSUPP')) {
      const text = shown(name.toString('latin1')).slice(1)
      throw new OciError('invalid', `Cannot set extended attribute "${text}"`, { cause: error })
    }
    debug('skip extended attribute %s: %s', name.toString('latin1'), error)
  }
}
