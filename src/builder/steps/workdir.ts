/**
 * WORKDIR: makes the directory, with its missing parents, for the user that steps run as (I12).
 *
 * It is made inside the mounted root, so a symbolic link of the image never leads to the host
 * (CVE-2026-55686).
 */
import { openRoot, type Root } from '../../layerfs/layer/rootfs.ts'
import { hasCode, printable } from '../../oci/errors.ts'
import type { WorkdirStep } from '../plan/step.ts'
import { chainOf, type KeyParts, type StepResult } from '../solve/graph.ts'
import { makeLayer } from './new-layer.ts'
import { type Owner, ownerIn } from './owner.ts'
import type { StepWorld } from './step-world.ts'

export function workdirKey(step: WorkdirStep, parent: StepResult): KeyParts {
  return { step: `WORKDIR ${step.path}`, user: step.user, base: chainOf(parent) ?? 'scratch' }
}

export function makeWorkdir(
  step: WorkdirStep,
  parent: StepResult,
  { nodeId, world, signal }: { nodeId: string; world: StepWorld; signal: AbortSignal },
): Promise<StepResult> {
  return makeLayer(parent, world, {
    signal,
    work: async ({ mount }) => {
      using root = openRoot(mount)
      const owner = ownerOf(root, step.user)
      if (owner === undefined) world.warn(nodeId, unknownUser(step))
      root.mkdirs(step.path, { mode: 0o755, ...(owner ?? rootUser) })
    },
  })
}

const rootUser: Owner = { uid: 0, gid: 0 }

/** `undefined` for a user that the image lacks: nothing runs as them yet. */
function ownerOf(root: Root, user: string): Owner | undefined {
  if (user === '') return rootUser
  try {
    return ownerIn(root, user)
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
}

function unknownUser({ path, user }: WorkdirStep): string {
  return `"${printable(path)}" belongs to root: the image has no user "${printable(user)}"`
}
