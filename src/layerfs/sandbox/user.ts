/**
 * Who `user[:group]` of an image is, by the image's own passwd and group files, as Docker (I07).
 *
 * Numbers are ids even when an entry has such a name. Ids that the files do not have stand as they
 * are; names must be there. An id that does not fit 32 bits is refused: cut off, it could come out
 * as 0, which is root (CVE-2024-40635).
 */
import { OciError, printable } from '../../oci/errors.ts'
import type { SandboxUser } from './spec.ts'

export interface ResolvedUser extends SandboxUser {
  /** `/` for a user that the image does not know. */
  readonly home: string
}

/** Contents; empty for a file that the image lacks. */
export interface UserFiles {
  readonly passwd: string
  readonly group: string
}

/** Nothing is root. Throws `not-found` for an unknown name, `invalid` for an id out of range. */
export function resolveUser(text: string, files: UserFiles): ResolvedUser {
  const [user = '', group = ''] = text.split(/:(.*)/s, 2)
  const account = findAccount(user, files.passwd)
  const groups = parseGroups(files.group)
  const gid = group === '' ? account.gid : findGroup(group, groups)
  // Only when none is named do the groups that list the user count.
  const listed = group === '' ? groups.filter(({ members }) => members.includes(account.name)) : []
  return {
    uid: account.uid,
    gid,
    // The main group among them: a file that its group may not read is closed to us (CVE-2022-36109).
    groups: [...new Set([gid, ...listed.map(each => each.gid)])],
    home: account.home,
  }
}

/** Ids of `names`, which are names or ids. Throws as {@link resolveUser}. */
export function resolveGroups(names: readonly string[], group: string): number[] {
  const groups = parseGroups(group)
  return names.map(name => findGroup(name, groups))
}

interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

interface Group {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

function findAccount(user: string, passwd: string): Account {
  const uid = user === '' ? 0 : parseId(user, 'user')
  const account = parsePasswd(passwd).find(entry =>
    uid === undefined ? entry.name === user : entry.uid === uid,
  )
  if (account !== undefined) return account
  if (uid !== undefined) return { name: '', uid, gid: 0, home: '/' }
  throw new OciError(
    'not-found',
    `unable to find user ${printable(user)}: no matching entries in passwd file`,
  )
}

function findGroup(group: string, groups: readonly Group[]): number {
  const gid = parseId(group, 'group')
  if (gid !== undefined) return gid
  const found = groups.find(entry => entry.name === group)
  if (found !== undefined) return found.gid
  throw new OciError(
    'not-found',
    `unable to find group ${printable(group)}: no matching entries in group file`,
  )
}

/** 2^32 - 1 means "no change" to the kernel and is nobody's id. */
const maxId = 0xffff_fffe

/** Nothing when `text` is no number but a name. */
function parseId(text: string, what: 'user' | 'group'): number | undefined {
  if (!/^\d+$/.test(text)) return undefined
  const id = Number(text)
  if (id <= maxId) return id
  throw new OciError(
    'invalid',
    `Cannot use "${printable(text)}" as a ${what}: expected an id from 0 to ${maxId}`,
  )
}

function parsePasswd(text: string): Account[] {
  return text.split('\n').flatMap(line => {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':')
    if (name === '' || !isId(uid) || !isId(gid)) return []
    return { name, uid: Number(uid), gid: Number(gid), home: home === '' ? '/' : home }
  })
}

function parseGroups(text: string): Group[] {
  return text.split('\n').flatMap(line => {
    const [name = '', , gid = '', members = ''] = line.split(':')
    if (name === '' || !isId(gid)) return []
    return { name, gid: Number(gid), members: members.trim().split(',').filter(Boolean) }
  })
}

/** An entry without a valid id is skipped: read as 0 it would be root. */
function isId(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= maxId
}
