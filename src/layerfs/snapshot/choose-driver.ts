/**
 * Overlay or copies: which of the two works on this store. Copies where the kernel has no overlayfs,
 * where it may not be mounted, and on file systems that cannot hold its writable layer.
 */
import { closeSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '../content/atomic-file.ts'
import { mountOverlay } from '../layer/detached-mount.ts'
import { overlayChoice, overlayUse, setOverlayUse } from '../layer/overlay-use.ts'
import { syscalls } from '../native/syscalls.ts'

/** File systems known to hold an overlay's writable layer: ext4, xfs, btrfs, tmpfs, f2fs. */
const knownTypes = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0xf2f52010])

/**
 * For all of this process; as `setOverlayChoice` says. Costs microseconds where the answer is known,
 * else a mount.
 */
export function chooseDriver(root: string): void {
  const { wanted, onCopying } = overlayChoice()
  if (wanted !== undefined || overlayUse() === 'copy') {
    setOverlayUse(wanted ?? 'copy')
    return
  }
  const obstacle = obstacleIn(root)
  if (obstacle === undefined) return
  setOverlayUse('copy')
  onCopying?.(obstacle)
}

/** Why the kernel mounts no overlay with its files in `root`; `undefined`: it does. */
function obstacleIn(root: string): string | undefined {
  try {
    if (knownTypes.has(statfsSync(root).type)) closeSync(syscalls().fsopen('overlay'))
    else tryOverlay(root)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function tryOverlay(root: string): void {
  makeDirectory(join(root, 'tmp'), 0o700)
  const place = mkdtempSync(join(root, 'tmp', 'probe-'))
  try {
    const [lower = '', upper = '', work = ''] = ['lower', 'upper', 'work'].map(name => {
      mkdirSync(join(place, name))
      return join(place, name)
    })
    closeSync(mountOverlay({ kind: 'overlay', lower: [lower], upper, work }))
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}
