/** Everything in a filesystem state, one line per path: what two builders are compared by. */
import { createHash } from 'node:crypto'
import { constants, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Root } from '../../src/layerfs/layer/rootfs.ts'
import { syscalls } from '../../src/layerfs/native/syscalls.ts'

/** Before this a time was copied from somewhere; after it, a file was made by the build. */
const copiedBefore = 1_700_000_000

/**
 * Type and mode, owner, size, content, link target, device, attributes, and the time of a file that
 * was not made by the build itself. Hard links are told by the first of their names.
 */
export function listFiles(root: Root): Map<string, string> {
  const lines = new Map<string, string>()
  const firstNames = new Map<string, string>()
  const top = `/proc/self/fd/${root.fd}`
  const visit = (path: string): void => {
    lines.set(path === '' ? '/' : path, describe(top, path, firstNames))
    if (path !== '' && !lstatSync(`${top}${path}`).isDirectory()) return
    for (const name of readdirSync(`${top}${path}/`).sort()) visit(`${path}/${name}`)
  }
  visit('')
  return lines
}

function describe(top: string, path: string, firstNames: Map<string, string>): string {
  const file = `${top}${path}${path === '' ? '/.' : ''}`
  const stat = lstatSync(file)
  const type = stat.mode & constants.S_IFMT
  const words = [stat.mode.toString(8), `${stat.uid}:${stat.gid}`]
  if (type === constants.S_IFREG) {
    words.push(String(stat.size), hashOf(file))
    const key = `${stat.dev}:${stat.ino}`
    if (stat.nlink > 1) words.push(`linked ${firstNames.get(key) ?? 'first'}`)
    if (stat.nlink > 1 && !firstNames.has(key)) firstNames.set(key, path)
  }
  if (type === constants.S_IFLNK) words.push(`-> ${readlinkSync(file)}`)
  if (type === constants.S_IFCHR || type === constants.S_IFBLK) words.push(`device ${stat.rdev}`)
  const seconds = Math.floor(stat.mtimeMs / 1000)
  if (type !== constants.S_IFDIR) words.push(seconds < copiedBefore ? `@${seconds}` : 'new')
  if (type !== constants.S_IFLNK) words.push(...attributesOf(file))
  return words.join(' ')
}

function hashOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 12)
}

function attributesOf(file: string): string[] {
  const names = syscalls().llistxattr(file).map(String).sort()
  return names
    .filter(name => !name.startsWith('trusted.') && name !== 'security.selinux')
    .map(name => `${name}=${syscalls().lgetxattr(file, name).toString('hex')}`)
}
