/** What is mounted, by the kernel's own word: /proc/<pid>/mountinfo. Spec: proc_pid_mountinfo(5). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface MountPoint {
  /** As the reading process sees it. */
  readonly path: string
  /** Of a directory of ours that is mounted by itself: what an overlay of ours would have there. */
  readonly source: string
}

/** Mounts of this process's namespace, the latest last. */
export function mountPoints(table = '/proc/self/mountinfo'): MountPoint[] {
  return readFileSync(table, 'latin1').split('\n').flatMap(parseLine)
}

/**
 * The sources of all mounts of this machine that this process can see: of every mount namespace
 * that has a process in it.
 */
export function mountSources(): Set<string> {
  const seen = new Set<string>()
  const sources = new Set<string>()
  for (const pid of ['self', ...readdirSync('/proc').filter(name => /^\d+$/.test(name))]) {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/mnt`)
      if (seen.has(namespace)) continue
      const mounts = mountPoints(`/proc/${pid}/mountinfo`)
      // Only now: a process that ended in between says nothing about its namespace.
      if (mounts.length > 0) seen.add(namespace)
      for (const { source } of mounts) sources.add(source)
    } catch {
      // It ended, or is another user's.
    }
  }
  return sources
}

function parseLine(line: string): MountPoint[] {
  const [left = '', right = ''] = line.split(' - ')
  const [, , , root = '', path] = left.split(' ')
  const id = /\/mounts\/([0-9a-f]{64})\/fs(?:\.tree)?$/.exec(root)?.[1]
  const source = id === undefined ? right.split(' ')[1] : `tsrun:${id}`
  if (path === undefined || source === undefined) return []
  return [{ path: unescaped(path), source: unescaped(source) }]
}

/** Blanks and backslashes are octal; names are bytes. */
function unescaped(text: string): string {
  const latin1 = text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
  return Buffer.from(latin1, 'latin1').toString('utf8')
}
