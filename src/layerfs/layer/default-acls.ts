/**
 * Default ACLs of directories, which they get when nothing more is put into them: until then each
 * new file would inherit an ACL that its own entry does not have. GNU tar does the same.
 */
import { hasCode, OciError } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { type Attributes, setXattrAt } from './attributes.ts'
import { procPath } from './open-in-root.ts'
import { type SafePath, shown } from './path-bytes.ts'

const name: Buffer = Buffer.from('system.posix_acl_default')

/** The same attributes without the default ACL, and that. */
export function apartFromDefaultAcl(attributes: Attributes): {
  readonly attributes: Attributes
  readonly defaultAcl: Buffer | undefined
} {
  const found = attributes.xattrs.find(xattr => xattr.name.equals(name))
  if (found === undefined) return { attributes, defaultAcl: undefined }
  const xattrs = attributes.xattrs.filter(xattr => !xattr.name.equals(name))
  return { attributes: { ...attributes, xattrs }, defaultAcl: found.value }
}

/** Of an open directory. */
export function setDefaultAcl(dirFd: number, value: Buffer): void {
  setXattrAt(dirFd, '.', { name, value })
}

/** Takes it away from an open directory. */
function takeDefaultAcl(dirFd: number): Buffer | undefined {
  const path = procPath(dirFd, '.')
  try {
    const value = syscalls().lgetxattr(path, name)
    syscalls().lremovexattr(path, name)
    return value
  } catch (error) {
    if (hasCode(error, 'ENODATA') || hasCode(error, 'EOPNOTSUPP')) return undefined
    throw error
  }
}

export class DefaultAcls {
  readonly #values = new Map<SafePath, Buffer>()

  /** `undefined`: the directory is to have none. */
  set(path: SafePath, value: Buffer | undefined): void {
    if (value === undefined) this.#values.delete(path)
    else this.#values.set(path, value)
  }

  /** Keeps what a directory has that was there before, for {@link giveBack}. */
  take(path: SafePath, dirFd: number): void {
    if (this.#values.has(path)) return
    const value = takeDefaultAcl(dirFd)
    if (value !== undefined) this.#values.set(path, value)
  }

  /** Each once. Throws `invalid` for the first that is none, when all others are given back. */
  giveBack(open: (path: SafePath) => number | undefined): void {
    let failure: { readonly error: unknown } | undefined
    for (const [path, value] of this.#values) {
      const fd = open(path)
      try {
        if (fd !== undefined) explaining(path, () => setDefaultAcl(fd, value))
      } catch (error) {
        failure ??= { error }
      }
    }
    this.#values.clear()
    if (failure !== undefined) throw failure.error
  }
}

function explaining(path: SafePath, set: () => void): void {
  try {
    set()
  } catch (cause) {
    if (!(cause instanceof OciError)) throw cause
    throw new OciError(cause.code, `Cannot apply layer entry "${shown(path)}": ${cause.message}`, {
      cause,
    })
  }
}
