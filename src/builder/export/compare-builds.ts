/** Whether two builds of the same came out the same, and if not, which step made what differently. */
import { formatPlatform } from '../../oci/platform.ts'
import type { BuildWorld } from '../build-request.ts'
import type { BuildResult } from '../build-result.ts'
import { compareLayers, type FileDifference } from './compare-layers.ts'
import { imageLayers } from './image-layers.ts'
import { defaultImageOptions } from './image-options.ts'

export interface StepDifference {
  readonly platform: string
  /** As the history has it: `RUN /bin/sh -c date > /built # buildkit`. */
  readonly step: string
  readonly files: readonly FileDifference[]
}

/** `first` and `second`: one result per platform, of the same platforms. */
export async function compareBuilds(
  first: readonly BuildResult[],
  second: readonly BuildResult[],
  world: Pick<BuildWorld, 'store' | 'signal'>,
): Promise<StepDifference[]> {
  const differences: StepDifference[] = []
  for (const [index, one] of first.entries()) {
    const other = second[index]
    if (other === undefined) throw new Error('A platform was built only once')
    differences.push(...(await compareResults(one, other, world)))
  }
  return differences
}

/** Times are rewritten where the build has an epoch: they differ in any two builds. */
const options = { ...defaultImageOptions, rewriteTimestamp: true }

async function compareResults(
  one: BuildResult,
  other: BuildResult,
  world: Pick<BuildWorld, 'store' | 'signal'>,
): Promise<StepDifference[]> {
  const [layers, others] = [
    await imageLayers(one, options, world),
    await imageLayers(other, options, world),
  ]
  const steps = one.config.history.filter(entry => entry.empty_layer !== true)
  const differences: StepDifference[] = []
  for (const [index, { diffId, descriptor }] of layers.entries()) {
    const counterpart = others[index]
    if (counterpart === undefined || counterpart.diffId === diffId) continue
    const { content } = world.store
    const files = await compareLayers(
      content.open(descriptor.digest),
      content.open(counterpart.descriptor.digest),
    )
    const step = steps[index]?.created_by ?? `layer ${index + 1}`
    differences.push({ platform: formatPlatform(one.platform), step, files })
  }
  return differences
}
