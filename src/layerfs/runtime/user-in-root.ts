/** Who a user is, by the passwd and group files of an image. */
import type { Root } from '../layer/rootfs.ts'
import { type ResolvedUser, resolveGroups, resolveUser } from '../sandbox/user.ts'

/** Larger ones are an attack on memory, not a list of users (CVE-2024-9676). */
const maxFileSize = 10 * 1024 * 1024

/**
 * `user[:group]`, names or ids; empty is root. `furtherGroups` are the user's as well. Throws `not-found` for a name that the image lacks,
 * `invalid` and `too-large` when its files are no such lists.
 */
export function userInRoot(
  root: Root,
  user: string,
  furtherGroups: readonly string[] = [],
): ResolvedUser {
  const group = readIfPresent(root, '/etc/group')
  const resolved = resolveUser(user, { passwd: readIfPresent(root, '/etc/passwd'), group })
  const further = resolveGroups(furtherGroups, group)
  return { ...resolved, groups: [...new Set([...resolved.groups, ...further])] }
}

function readIfPresent(root: Root, path: string): string {
  return root.findFile(path, maxFileSize)?.toString('utf8') ?? ''
}
