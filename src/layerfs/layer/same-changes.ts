/**
 * Whether two layers on the same filesystem change it in the same way, whenever they did.
 *
 * The same paths, types, owners, modes, attributes, contents and links between names; no times.
 */
import { closeSync, openSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { hasCode } from '../../oci/errors.ts'
import { hasSameBytes, isSameButTimes } from './compare-files.ts'
import { type Change, walkChanges } from './diff-walk.ts'
import { isDirectory, isFile, openAs } from './file-type.ts'
import { overlayFormat } from './overlay-format.ts'
import type { SafePath } from './path-bytes.ts'
import { openRoot } from './rootfs.ts'

export interface ComparedLayers {
  /** Layer directories in overlayfs's format. */
  readonly uppers: readonly [string, string]
  /** Directories of the layers below both, **top first**. */
  readonly lower: readonly string[]
}

/**
 * Reads contents only where all before looks the same: layers that differ are told apart soon. Other
 * work goes on in between. `false` for a layer that is gone; throws what reading throws.
 */
export async function hasSameChanges(
  { uppers, lower }: ComparedLayers,
  signal: AbortSignal,
): Promise<boolean> {
  using below = lower.length > 0 ? openRoot({ kind: 'overlay', lower }) : undefined
  try {
    for (const reads of ['looks', 'contents'] as const) {
      if (!(await walkBoth(uppers, { lowerFd: below?.fd, reads, signal }))) return false
    }
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

interface Walking {
  readonly lowerFd: number | undefined
  readonly reads: 'looks' | 'contents'
  readonly signal: AbortSignal
}

async function walkBoth(uppers: readonly string[], walking: Walking): Promise<boolean> {
  const fds = uppers.map(upper => openSync(upper, openAs.directory))
  try {
    const format = overlayFormat()
    const [one, other] = fds.map(upperFd => {
      const changes = walkChanges({ upperFd, lowerFd: walking.lowerFd, format })
      return { changes, links: new Map<bigint, SafePath>() }
    })
    if (one === undefined || other === undefined) throw new Error('Two layers are compared')
    for (;;) {
      walking.signal.throwIfAborted()
      const [a, b] = [one.changes.next(), other.changes.next()]
      if (a.done === true || b.done === true) return a.done === b.done
      const first = { change: a.value, links: one.links }
      const second = { change: b.value, links: other.links }
      if (!isSame(first, second, walking.reads)) return false
      if (walking.reads === 'contents') await setImmediate()
    }
  } finally {
    for (const fd of fds) closeSync(fd)
  }
}

interface Side {
  readonly change: Change
  /** Of files with several names: the one that came first. */
  readonly links: Map<bigint, SafePath>
}

function isSame(one: Side, other: Side, reads: Walking['reads']): boolean {
  const [a, b] = [one.change, other.change]
  if (a.kind !== b.kind || a.path !== b.path) return false
  if (a.kind !== 'content' || b.kind !== 'content') return true
  if (firstName(one) !== firstName(other)) return false
  if (reads === 'looks') return isSameButTimes(a.found, b.found)
  return !isFile(a.found.stat) || hasSameBytes(a.found, b.found)
}

function firstName({ change, links }: Side): SafePath | undefined {
  if (change.kind !== 'content') return undefined
  const { stat } = change.found
  if (isDirectory(stat) || stat.links < 2) return undefined
  const first = links.get(stat.ino) ?? change.path
  links.set(stat.ino, first)
  return first
}
