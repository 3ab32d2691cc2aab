/** A sandbox where the kernel has no overlayfs: each stack of layers is a directory of copies. */
import { copiedTree } from '../layer/copied-tree.ts'
import { overlayUse } from '../layer/overlay-use.ts'
import type { RootMount } from '../mount.ts'
import type { SandboxSpec } from './spec.ts'

export function withCopies(spec: SandboxSpec): SandboxSpec {
  const mounts = spec.mounts.map(mount =>
    mount.kind === 'layers' ? { ...mount, root: copied(mount.root) } : mount,
  )
  return { ...spec, root: copied(spec.root), mounts }
}

function copied(root: RootMount): RootMount {
  if (root.kind === 'directory') return root
  // Nothing at all, to be shown read-only: the sandbox has a directory for that.
  if (root.lower.length === 0 && root.upper === undefined) return root
  return { kind: 'directory', path: copiedTree(root), readOnly: root.upper === undefined }
}

/** Where what a run writes to `root` goes; `undefined`: nowhere, or into a directory of others. */
export function writtenDirectory(root: RootMount): string | undefined {
  if (root.kind === 'directory' || root.upper === undefined) return undefined
  return overlayUse() === 'copy' ? copiedTree(root) : root.upper
}
