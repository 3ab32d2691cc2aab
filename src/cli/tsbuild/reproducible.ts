/** `--reproducible` and `--verify-reproducible`: the same image wherever and whenever it is built. */
import { buildPlatforms } from '../../builder/build.ts'
import type { EmitBuildEvent } from '../../builder/build-event.ts'
import type { BuildRequest, BuildWorld } from '../../builder/build-request.ts'
import type { BuildResult } from '../../builder/build-result.ts'
import { parseIgnore } from '../../builder/dockerfile/ignore.ts'
import { compareBuilds, type StepDifference } from '../../builder/export/compare-builds.ts'
import type { Output } from '../../builder/export/output.ts'
import type { ContextDirectory } from '../../builder/sources/context-directory.ts'
import { contextEpoch } from '../../builder/sources/context-epoch.ts'
import { OciError } from '../../oci/errors.ts'
import type { Platform } from '../../oci/platform.ts'

/** Times of files are part of an image, too. */
export function reproducibleOutputs(outputs: readonly Output[]): Output[] {
  return outputs.map(output =>
    'options' in output
      ? { ...output, options: { ...output.options, rewriteTimestamp: true } }
      : output,
  )
}

/** The SOURCE_DATE_EPOCH that a context gives. `ignore`: the text of the .dockerignore. */
export async function epochOf(
  { path, time }: Pick<ContextDirectory, 'path' | 'time'>,
  ignore: string,
  world: Pick<BuildWorld, 'variables' | 'signal'>,
): Promise<string> {
  return String((await time?.()) ?? (await contextEpoch(path, parseIgnore(ignore), world)))
}

/**
 * Builds twice without the cache, the second time one step after the other. Throws
 * `digest-mismatch`, naming what came out differently; what cache mounts hold is there both times.
 */
export async function buildTwice(
  request: BuildRequest,
  platforms: readonly Platform[],
  world: BuildWorld,
): Promise<BuildResult[]> {
  const uncached = { ...request, rerun: 'all' } as const
  const first = await buildPlatforms(uncached, platforms, world)
  const again = { ...world, parallelism: 1, emit: secondTime(world.emit) }
  const second = await buildPlatforms(uncached, platforms, again)
  const differences = await compareBuilds(first, second, world)
  if (differences.length > 0) throw notReproducible(differences)
  return first
}

/** The same steps once more are other lines of progress; there is nothing new to warn about. */
function secondTime(emit: EmitBuildEvent): EmitBuildEvent {
  return event => {
    if (event.kind === 'warning') return
    const id = `again ${event.id}`
    if (event.kind === 'started') emit({ ...event, id, name: `${event.name} (again)` })
    else emit({ ...event, id })
  }
}

/** Of one step; one that differs in more has the same reason for them. */
const shownFiles = 20

function notReproducible(differences: readonly StepDifference[]): OciError {
  const lines = differences.flatMap(({ platform, step, files }) => {
    const more = files.length - shownFiles
    return [
      `  ${platform}: ${step.replaceAll('\n', ' ')}`,
      ...files.slice(0, shownFiles).map(({ path, what }) => `    /${path}: ${what.join(', ')}`),
      ...(more > 0 ? [`    and ${more} more`] : []),
    ]
  })
  const [steps, plural] = [differences.length, differences.length === 1 ? '' : 's']
  return new OciError(
    'digest-mismatch',
    `Two builds of the same differ in ${steps} step${plural}:\n${lines.join('\n')}`,
  )
}
