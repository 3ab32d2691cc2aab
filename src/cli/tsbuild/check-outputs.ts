/** What outputs and platforms ask of each other, told before anything is built. */
import { checkImageOptions } from '../../builder/export/image-options.ts'
import type { Output } from '../../builder/export/output.ts'
import type { Platform } from '../../oci/platform.ts'
import { usageError } from '../cli-error.ts'
import { parseAs, parseBoolean } from '../flags/flag-values.ts'

export interface OutputPlatforms {
  readonly platforms: readonly Platform[]
  readonly buildArgs: ReadonlyMap<string, string>
}

export interface Checked {
  /** The image is an index also when it is for one platform. */
  readonly asIndex: boolean
  readonly needsEpoch: boolean
  /** One takes what the layers have apart: their tars are not enough. */
  readonly needsFiles: boolean
}

/** Throws a usage error. */
export function checkOutputs(
  outputs: readonly Output[],
  { platforms, buildArgs }: OutputPlatforms,
): Checked {
  const name = 'BUILDKIT_MULTI_PLATFORM'
  const isAsked = parseAs(`build-arg ${name}`, () => parseBoolean(buildArgs.get(name) ?? '0'))
  const asIndex = isAsked || platforms.length > 1
  for (const output of outputs) {
    if (!('options' in output)) continue
    parseAs('these outputs', () => checkImageOptions(output.options, { platforms, asIndex }))
    const isDocker =
      output.kind === 'engine' || (output.kind === 'archive' && output.format === 'docker')
    if (isDocker && asIndex) {
      throw usageError(
        'Docker cannot load an image of several platforms: use type=oci, or choose one platform',
      )
    }
  }
  const needsEpoch = outputs.some(one => 'options' in one && one.options.rewriteTimestamp)
  const needsFiles = needsEpoch || outputs.some(({ kind }) => kind === 'local' || kind === 'tar')
  return { asIndex, needsEpoch, needsFiles }
}
