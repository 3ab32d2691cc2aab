/**
 * The lowest layer of every root: empty places for what is mounted in each container.
 *
 * With it under an image that has no /proc or /etc/hosts (`FROM scratch`), nothing must be created
 * in the writable layer to mount them on, so nothing of it can reach the image that is built.
 */
import { chmodSync, closeSync, mkdirSync, openSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'

const directories = ['dev', 'etc', 'proc', 'sys']
const files = ['etc/hostname', 'etc/hosts', 'etc/resolv.conf']

/**
 * Makes the layer at `path`, completes it, or finds it complete; several processes may do so at
 * once. Its times are fixed: they show in containers where the image has no such directory. The
 * time of the directory itself is set last, so it tells that nothing is left to do.
 */
export function stubDirectory(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.mtimeMs === 0) return path
  for (const name of directories) mkdirSync(join(path, name), { recursive: true, mode: 0o755 })
  for (const name of files) closeSync(openSync(join(path, name), 'a', 0o644))
  for (const name of [...files, ...directories, '.']) {
    const entry = join(path, name)
    chmodSync(entry, files.includes(name) ? 0o644 : 0o755)
    utimesSync(entry, 0, 0)
  }
  return path
}
