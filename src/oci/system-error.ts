/**
 * What the kernel refused, in the form of our messages: Node's are
 * `ENOENT: no such file or directory, open '/x'`, ours `Cannot open "/x": no such file or directory (ENOENT)`.
 */
import { getSystemErrorMap } from 'node:util'
import { printable } from './errors.ts'

/** The kernel refused something: a full disk, a missing file; nothing a stack trace would explain. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException & { errno: number } {
  return (
    error instanceof Error &&
    'errno' in error &&
    typeof error.errno === 'number' &&
    wordsOf(error.errno) !== undefined
  )
}

/** The system's words, without the call and the path around them; of another error, its message. */
export function systemReason(error: unknown): string {
  const words = isSystemError(error) ? wordsOf(error.errno) : undefined
  if (words !== undefined) return `${words[1]} (${words[0]})`
  return error instanceof Error ? error.message : String(error)
}

/** A whole message, for who cannot say better what was being done. */
export function systemMessage(error: NodeJS.ErrnoException & { dest?: string }): string {
  const { syscall = '' } = error
  const verb = verbs[syscall] ?? verbs[syscall.replace(/(at)?2?$/, '')]
  if (verb === undefined) return error.message
  const names = [error.path, error.dest].flatMap(path => path ?? []).map(quoted)
  return `Cannot ${[verb, names.join(' to ')].filter(Boolean).join(' ')}: ${systemReason(error)}`
}

function quoted(path: string): string {
  return `"${printable(path, 1000)}"`
}

function wordsOf(errno: number): readonly [name: string, text: string] | undefined {
  return getSystemErrorMap().get(-Math.abs(errno))
}

/**
 * By system call, Node's and those of the addon; those that take a directory (`mkdirat`, `openat2`)
 * are found without their end.
 */
const verbs: Readonly<Record<string, string>> = {
  access: 'open',
  chmod: 'change the mode of',
  chown: 'change the owner of',
  close: 'write',
  copy_file_range: 'copy',
  copyfile: 'copy',
  fchmod: 'change the mode of',
  fchown: 'change the owner of',
  flock: 'lock',
  fstat: 'open',
  fsync: 'write',
  ftruncate: 'write',
  futime: 'change the times of',
  futimens: 'change the times of',
  getxattr: 'read the attributes of',
  link: 'link',
  listxattr: 'read the attributes of',
  lseek: 'read',
  lstat: 'open',
  mkdir: 'make directory',
  mkdtemp: 'make directory',
  mknod: 'make',
  open: 'open',
  opendir: 'read',
  pread: 'read',
  read: 'read',
  readdir: 'read',
  readlink: 'read link',
  realpath: 'open',
  removexattr: 'remove attribute',
  rename: 'rename',
  rmdir: 'remove',
  scandir: 'read',
  setxattr: 'set attribute',
  stat: 'open',
  statfs: 'open',
  statx: 'open',
  symlink: 'make link',
  syncfs: 'write',
  unlink: 'remove',
  utime: 'change the times of',
  utimens: 'change the times of',
  write: 'write',
}
