/**
 * Names of users and groups, looked up in the files of the image that a step works on (I07, C16).
 */
import type { Root } from '../../layerfs/layer/rootfs.ts'
import { type ResolvedUser, resolveUser } from '../../layerfs/sandbox/user.ts'
import { hasCode } from '../../oci/errors.ts'

/** Larger ones are an attack on memory, not a list of users (CVE-2024-9676). */
const maxFileSize = 10 * 1024 * 1024

/** Who `user[:group]` is; empty is root. Throws `not-found` for a name that the image lacks. */
export function userIn(root: Root, user: string): ResolvedUser {
  return resolveUser(user, {
    passwd: readIfPresent(root, '/etc/passwd'),
    group: readIfPresent(root, '/etc/group'),
  })
}

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/**
 * Whom `--chown=u[:g]` names. A lone number is user and group; a lone name brings its own group
 * (C16). Throws `not-found` for a name that the image lacks.
 */
export function ownerIn(root: Root, chown: string): Owner {
  const { uid, gid } = userIn(root, /^\d+$/.test(chown) ? `${chown}:${chown}` : chown)
  return { uid, gid }
}

function readIfPresent(root: Root, path: string): string {
  try {
    return root.readFile(path, maxFileSize).toString('utf8')
  } catch (error) {
    if (hasCode(error, 'not-found')) return ''
    throw error
  }
}
