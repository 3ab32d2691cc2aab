import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { RootMount } from '../mount.ts'

/**
 * Lets a writable root that was mounted `volatile` be mounted once more. The kernel refuses that,
 * for it cannot know that the machine did not crash in between; our caller does.
 */
export function mountAgain(root: RootMount): void {
  if (root.kind !== 'overlay' || root.work === undefined) return
  rmSync(join(root.work, 'work/incompat'), { recursive: true, force: true })
}
