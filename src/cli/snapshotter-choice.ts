/** TSBUILD_SNAPSHOTTER, and what is told where overlayfs cannot be had. */
import { setOverlayChoice } from '../layerfs/layer/overlay-use.ts'
import { printable } from '../oci/errors.ts'
import { usageError } from './cli-error.ts'
import type { CliContext } from './command.ts'

/** Throws a usage error for another value than `overlay` and `copy`. */
export function chooseSnapshotter({ environment, stderr }: CliContext): void {
  const { snapshotter, root } = environment
  if (snapshotter === 'overlay' || snapshotter === 'copy') {
    setOverlayChoice({ wanted: snapshotter })
    return
  }
  if (snapshotter !== undefined) {
    throw usageError(
      `Cannot use TSBUILD_SNAPSHOTTER="${printable(snapshotter)}": expected overlay or copy`,
    )
  }
  setOverlayChoice({
    onCopying: obstacle => {
      const state = `overlayfs cannot be had in ${printable(root)} (${printable(obstacle)})`
      stderr.write(`Warning: ${state}: files are copied instead, which takes time and space\n`)
    },
  })
}
