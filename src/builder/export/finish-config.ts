/**
 * The image config of a finished stage: what planning could not know is filled in.
 *
 * Every history entry of the build gets a time: that of its layer, and an entry without a layer
 * that of the layer before it. Times are when a step *ran*; a rebuild from the cache therefore
 * gives the same config to the byte. SOURCE_DATE_EPOCH lowers later times to itself; the base's
 * history stays as it is. Reference: O01, O02, O04, O05, O11.
 */
import type { DiffId } from '../../oci/digest.ts'
import type { History, ImageConfig } from '../../oci/image-config.ts'
import type { StepResult } from '../solve/graph.ts'

/** The time of an image that has neither a layer nor a base: it must not differ between builds. */
const epoch = '1970-01-01T00:00:00Z'

export interface FinishedStage {
  /** From the planner: its last entries of history are those of `steps`, without `created`. */
  readonly image: ImageConfig
  /** One per step: the result of a step that changed the filesystem. */
  readonly steps: readonly (StepResult | undefined)[]
  /** The whole stack, lowest first. */
  readonly layers: readonly DiffId[]
  /** SOURCE_DATE_EPOCH: no time of this build is later. */
  readonly latest?: Date
}

export function finishConfig(stage: FinishedStage): ImageConfig {
  const baseHistory = stage.image.history.slice(0, -stage.steps.length || undefined)
  const ownHistory = stage.image.history.slice(baseHistory.length)
  let created = baseHistory.at(-1)?.created ?? stage.image.created ?? firstTime(stage.steps)
  const history: History[] = [...baseHistory, ...untold(stage, created)]
  for (const [index, entry] of ownHistory.entries()) {
    created = noLater(stage.steps[index]?.created ?? created, stage.latest)
    history.push({ created, ...entry })
  }
  return {
    ...stage.image,
    created,
    rootfs: { type: 'layers', diff_ids: stage.layers },
    history,
  }
}

/** Layers of the base that its history does not tell of, so that both have as many (O04). */
function untold({ image, layers }: FinishedStage, created: string): History[] {
  const told = image.history.filter(entry => entry.empty_layer !== true).length
  const length = Math.max(0, layers.length - told)
  return Array.from({ length }, () => ({ created, comment: 'buildkit.exporter.image.v0' }))
}

function noLater(time: string, latest: Date | undefined): string {
  if (latest === undefined || Date.parse(time) <= latest.getTime()) return time
  return latest.toISOString()
}

function firstTime(steps: FinishedStage['steps']): string {
  return steps.find(step => step?.created !== undefined)?.created ?? epoch
}
