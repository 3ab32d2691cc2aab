/**
 * What each kind of step keys on and does: the table that the solver works by.
 */
import type { DiffId } from '../../oci/digest.ts'
import { unreachable } from '../../oci/errors.ts'
import { atSpanAsync, type Place } from '../dockerfile/error.ts'
import type { CopyStep, RunStep, Step, WorkdirStep } from '../plan/step.ts'
import type { KeyParts, Node, StepResult } from '../solve/graph.ts'
import type { Executor } from '../solve/solver.ts'
import { executeCopy } from './copy.ts'
import { copyKey } from './copy-key.ts'
import { layLayers } from './lay-layers.ts'
import { executeRun, runKey } from './run.ts'
import type { StepWorld } from './step-world.ts'
import { makeWorkdir, workdirKey } from './workdir.ts'

export type Work =
  /** The layers of an image, or none for `scratch`: nothing to do until a step needs them. */
  | { readonly kind: 'base'; readonly layers: readonly DiffId[] }
  | {
      readonly kind: 'step'
      readonly step: FilesystemStep
      readonly place: Place
      /** `always`: no earlier result is used. */
      readonly rerun: 'never' | 'always'
    }

  /** The layers of the second input on top of the first. */
  | { readonly kind: 'lay' }

export type FilesystemStep = RunStep | CopyStep | WorkdirStep

/** `inputs[0]` is what a step builds on; the others what a COPY, or the mounts of a RUN, read. */
export function stepExecutor(world: StepWorld): Executor<Work> {
  return {
    keyParts: async (node, inputs, signal) => {
      const { work } = node
      if (work.kind !== 'step' || isShell(work.step)) return undefined
      return atSpanAsync(work.place, () => keyOf(node, work.step, { inputs, world, signal }))
    },
    execute: async (node, inputs, signal) => {
      const { work } = node
      if (work.kind === 'base') return { layers: work.layers }
      if (work.kind === 'lay') {
        return layLayers(parentOf(node, inputs), addedOf(node, inputs), world)
      }
      return atSpanAsync(work.place, () => execute(node, work.step, { inputs, world, signal }))
    },
    mayReuse: ({ work }) => work.kind === 'step' && work.rerun === 'never',
  }
}

/** It gives no result, so nothing is kept of it, and two at once do not wait for each other. */
function isShell(step: Step): boolean {
  return step.kind === 'run' && step.isShell === true
}

interface StepInputs {
  readonly inputs: readonly StepResult[]
  readonly world: StepWorld
  readonly signal: AbortSignal
}

async function keyOf(
  node: Node<Work>,
  step: FilesystemStep,
  { inputs, world, signal }: StepInputs,
): Promise<KeyParts> {
  const parent = parentOf(node, inputs)
  switch (step.kind) {
    case 'run':
      return runKey(step, parent, { sources: inputs.slice(1), world, signal })
    case 'copy':
      return copyKey(step, { parent, source: inputs[1], world, signal })
    case 'workdir':
      return workdirKey(step, parent)
    default:
      return unreachable(step)
  }
}

async function execute(
  node: Node<Work>,
  step: FilesystemStep,
  { inputs, world, signal }: StepInputs,
): Promise<StepResult> {
  const parent = parentOf(node, inputs)
  const context = { nodeId: node.id, world, signal }
  switch (step.kind) {
    case 'run':
      return executeRun(step, parent, { sources: inputs.slice(1), ...context })
    case 'copy':
      return executeCopy(step, { parent, source: inputs[1], ...context })
    case 'workdir':
      return makeWorkdir(step, parent, context)
    default:
      return unreachable(step)
  }
}

function parentOf(node: Node<Work>, inputs: readonly StepResult[]): StepResult {
  const [parent] = inputs
  if (parent === undefined) throw new Error(`Step ${node.id} builds on nothing`)
  return parent
}

function addedOf(node: Node<Work>, inputs: readonly StepResult[]): StepResult {
  const [, added] = inputs
  if (added === undefined) throw new Error(`Step ${node.id} lays nothing`)
  return added
}
