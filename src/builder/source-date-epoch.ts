/**
 * SOURCE_DATE_EPOCH: no time that a build writes is later (A09). `--build-arg` says it, else an ARG
 * before the first FROM:
 *
 *   1700000000   whole seconds since 1970
 *   context      when the build context was made: its commit, or its download; nothing for files of
 *                this machine, whose times mean little
 *   NAME         the same of a named context, or of a stage that is FROM scratch and one ADD of a URL
 *                or a repository
 */
import { OciError, printable } from '../oci/errors.ts'
import type { BaseImages } from './base-images.ts'
import type { BuildRequest, BuildWorld } from './build-request.ts'
import { atSpan, atSpanAsync, DockerfileError } from './dockerfile/error.ts'
import type { Dockerfile } from './dockerfile/parse.ts'
import { planStages } from './plan/build-plan.ts'
import { type Stage, splitStages } from './plan/split-stages.ts'
import type { CopyStep, Step } from './plan/step.ts'
import { type Planning, planBuild } from './plan-build.ts'
import type { NamedContexts } from './sources/named-contexts.ts'
import { addedTime } from './sources/source-time.ts'

const argument = 'SOURCE_DATE_EPOCH'

export interface Epoch {
  /** Absent: times are as they are. */
  readonly latest?: Date
  /** What is to be built: wherever it or they say the argument, it is whole seconds. */
  readonly dockerfile: Dockerfile
  readonly buildArgs: ReadonlyMap<string, string>
}

export interface EpochWorld extends BuildWorld {
  readonly bases: BaseImages
  readonly namedContexts: Pick<NamedContexts, 'time'>
}

/**
 * Throws `invalid`, in BuildKit's words, for what is no time, and what fetching throws; also when
 * the request needs a time and there is none.
 */
export async function sourceDateEpoch(
  dockerfile: Dockerfile,
  request: BuildRequest,
  world: EpochWorld,
): Promise<Epoch> {
  const { buildArgs } = request.plan
  const text = buildArgs.get(argument) ?? defaultOf(dockerfile, request)
  const seconds = await secondsOf(text, { dockerfile, request, world })
  if (seconds === undefined) {
    if (request.needsEpoch === true) {
      throw new OciError('invalid', `Output option rewrite-timestamp=true needs ${argument}`)
    }
    return text === undefined ? { dockerfile, buildArgs } : withoutEpoch(dockerfile, buildArgs)
  }
  const given = [...buildArgs, [argument, String(seconds)]] as const
  return { latest: new Date(seconds * 1000), dockerfile, buildArgs: new Map(given) }
}

/** With all ARGs that stand above it filled in; those of the file alone, if there is one. */
function defaultOf(dockerfile: Dockerfile, { plan }: BuildRequest): string | undefined {
  const isDefined = splitStages(dockerfile).globalArgs.some(({ args }) =>
    args.some(({ name, value }) => name === argument && value !== undefined),
  )
  return isDefined ? planStages(dockerfile, plan).globals.get(argument) : undefined
}

interface Asked {
  readonly dockerfile: Dockerfile
  readonly request: BuildRequest
  readonly world: EpochWorld
}

async function secondsOf(text: string | undefined, asked: Asked): Promise<number | undefined> {
  if (text === undefined || text === '') return undefined
  if (/^-?\d{1,11}$/.test(text)) return Number(text)
  const { request, world } = asked
  if (text === 'context') return await request.contextTime?.()
  const context = world.contexts.get(text)
  if (context?.kind === 'git' || context?.kind === 'url')
    return await world.namedContexts.time(text)
  if (context?.kind === 'directory') return undefined
  const stage = splitStages(asked.dockerfile).stages.find(({ from }) => from.as === text)
  if (stage !== undefined) return await stageTime(stage, asked)
  throw new OciError('invalid', `invalid ${argument}: ${printable(text)}`, {
    hint: 'give whole seconds since 1970, "context", or the name of a context or stage from elsewhere',
  })
}

/** A stage may be planned before the time is known if nothing runs in it. */
async function stageTime(stage: Stage, { dockerfile, request, world }: Asked) {
  const { file } = dockerfile
  const refuse = (reason: string) => {
    throw new DockerfileError(`${argument} stage ${reason}`)
  }
  for (const { kind, span } of stage.instructions) {
    if (kind === 'add' || kind === 'arg') continue
    const what = `unsupported ${kind.toUpperCase()} instruction`
    atSpan({ file, span }, () => refuse(`does not meet source-only requirements: ${what}`))
  }
  const plan = { ...request.plan, target: String(stage.index) }
  const planning: Planning = { bases: world.bases, stages: 'needed', findings: [] }
  return await atSpanAsync({ file, span: stage.from.span }, async () => {
    if (planStages(dockerfile, plan).target.base.kind !== 'scratch') refuse('must use FROM scratch')
    const { stages } = await planBuild(dockerfile, { ...request, plan }, planning)
    const [step, ...more] = stages.flatMap(({ steps }) => steps.filter(isCopy))
    if (step === undefined || more.length > 0) {
      return refuse('must contain exactly one remote ADD')
    }
    const [source, ...others] = step.sources
    if (others.length > 0) refuse('must contain exactly one remote ADD source')
    if (source?.kind === 'url' || source?.kind === 'git') {
      return await addedTime(step, source, world)
    }
    return refuse('source must be a single HTTP(S) or Git ADD')
  })
}

function isCopy(step: Step): step is CopyStep {
  return step.kind === 'copy'
}

function withoutEpoch(
  { instructions, ...dockerfile }: Dockerfile,
  buildArgs: ReadonlyMap<string, string>,
): Epoch {
  const firstFrom = instructions.findIndex(({ kind }) => kind === 'from')
  const withoutDefault = instructions.map((instruction, index) =>
    instruction.kind === 'arg' && index < firstFrom
      ? { ...instruction, args: instruction.args.filter(({ name }) => name !== argument) }
      : instruction,
  )
  const others = new Map(buildArgs)
  others.delete(argument)
  return { dockerfile: { ...dockerfile, instructions: withoutDefault }, buildArgs: others }
}
