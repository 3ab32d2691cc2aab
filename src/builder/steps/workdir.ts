/**
 * WORKDIR: makes the directory, with its missing parents, for the user that steps run as (I12).
 *
 * It is made inside the mounted root, so a symbolic link of the image never leads to the host
 * (CVE-2026-55686).
 */
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { userInRoot } from '../../layerfs/runtime/user-in-root.ts'
import type { WorkdirStep } from '../plan/step.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import { makeLayer } from './new-layer.ts'
import type { StepWorld } from './step-world.ts'

export function workdirKey(step: WorkdirStep, parent: StepResult): KeyParts {
  return { step: `WORKDIR ${step.path}`, user: step.user, base: chainOf(parent) ?? 'scratch' }
}

export function makeWorkdir(
  step: WorkdirStep,
  parent: StepResult,
  { world, signal }: { world: StepWorld; signal: AbortSignal },
): Promise<StepResult> {
  return makeLayer(parent, world, {
    signal,
    work: async ({ mount }) => {
      using root = openRoot(mount)
      const { uid, gid } = userInRoot(root, step.user)
      root.mkdirs(step.path, { mode: 0o755, uid, gid })
    },
  })
}
