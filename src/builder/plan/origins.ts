/**
 * Where the instructions of a stage read from besides its own base: `COPY --from`, `--mount=from=`;
 * and which such references make no sense (F07, R16).
 */
import { atSpan, DockerfileError } from '../dockerfile/error.ts'
import { goQuote } from '../dockerfile/go-quote.ts'
import type { MountFlag } from '../dockerfile/instruction.ts'
import { checkReference, externalOrigin } from './from.ts'
import type { PlanContext } from './plan-context.ts'
import { type StageNames, stageByName, stageNumber } from './stage-lookup.ts'
import type { Origin, StageInstruction, StagePlan } from './step.ts'

interface Place {
  /** The stage that reads. */
  readonly index: number
  /** Names of all stages: a name may belong to a later one, which is then refused. */
  readonly names: StageNames
  /** How many stages there are. */
  readonly count: number
}

/** One origin for COPY with `--from`, one per mount for RUN. Throws DockerfileError at the span. */
export function instructionOrigins(
  context: PlanContext,
  entry: Omit<StageInstruction, 'origins'>,
  place: Place,
): Origin[] {
  const { instruction } = entry
  return atSpan({ file: context.file, span: entry.span }, () => {
    if (instruction.kind === 'copy' && instruction.from !== undefined) {
      return [copyOrigin(context, instruction.from, place)]
    }
    if (instruction.kind === 'run') {
      return instruction.mounts.map(mount => mountOrigin(context, mount, place))
    }
    return []
  })
}

function copyOrigin(context: PlanContext, from: string, place: Place): Origin {
  const number = stageNumber(from)
  if (number === undefined) return namedOrigin(context, from, place)
  if (number < 0 || number >= place.count) {
    throw new DockerfileError(`invalid stage index ${number}`)
  }
  return { kind: 'stage', stage: number }
}

function mountOrigin(context: PlanContext, mount: MountFlag, place: Place): Origin {
  if (mount.from === undefined || mount.from === '') return { kind: 'context' }
  const number = stageNumber(mount.from)
  if (number !== undefined && number >= 0 && number < place.index) {
    return { kind: 'stage', stage: number }
  }
  return namedOrigin(context, mount.from, place)
}

function namedOrigin(context: PlanContext, name: string, place: Place): Origin {
  const stage = stageByName(place.names, name)
  if (stage !== undefined) return { kind: 'stage', stage }
  if (name === 'scratch') return { kind: 'scratch' }
  return externalOrigin(context, name, context.options.targetPlatform)
}

/** Throws DockerfileError when a stage reads, directly or not, from itself. */
export function refuseCircularStages(all: readonly StagePlan[], file: string): void {
  const finished = new Set<number>()
  for (const stage of all) {
    const entry = circularRead(all, stage, finished)
    if (entry === undefined) continue
    throw new DockerfileError(
      `circular dependency detected on stage: ${stage.name ?? `stage-${stage.index}`}`,
      { span: entry.span, file },
    )
  }
}

/** The first read of `start` if it leads back to a stage on its way; each stage is walked once. */
function circularRead(
  all: readonly StagePlan[],
  start: StagePlan,
  finished: Set<number>,
): StageInstruction | undefined {
  const path: { readonly stage: StagePlan; readonly reads: StageRead[] }[] = []
  const open = new Set<number>()
  const visit = (stage: StagePlan) => {
    if (finished.has(stage.index)) return
    finished.add(stage.index)
    open.add(stage.index)
    path.push({ stage, reads: stageReads(stage).toReversed() })
  }
  visit(start)
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const read = top.reads.pop()
    if (read === undefined) {
      open.delete(top.stage.index)
      path.pop()
    } else if (open.has(read.stage)) {
      return stageReads(start)[0]?.entry
    } else {
      const next = all[read.stage]
      if (next !== undefined) visit(next)
    }
  }
  return undefined
}

interface StageRead {
  readonly stage: number
  readonly entry: StageInstruction
}

function stageReads(stage: StagePlan): StageRead[] {
  return stage.instructions.flatMap(entry =>
    entry.origins.flatMap(origin =>
      origin.kind === 'stage' ? [{ stage: origin.stage, entry }] : [],
    ),
  )
}

/**
 * Throws DockerfileError when a stage that is built reads from a stage below it, or from something
 * that is no image.
 */
export function refuseLaterStages(stages: readonly StagePlan[], file: string): void {
  for (const stage of stages) {
    const base = stage.base
    if (base.kind === 'image') {
      atSpan({ file, span: stage.span }, () => checkReference(base.reference))
    }
    for (const entry of stage.instructions) {
      atSpan({ file, span: entry.span }, () => refuseLaterOrigins(stage, entry))
    }
  }
}

function refuseLaterOrigins(stage: StagePlan, { instruction, origins }: StageInstruction): void {
  const label = stage.name ?? `stage-${stage.index}`
  for (const [index, origin] of origins.entries()) {
    if (origin.kind === 'image') checkReference(origin.reference)
    if (origin.kind !== 'stage' || origin.stage < stage.index) continue
    if (instruction.kind === 'run') {
      const mount = instruction.mounts[index]
      const target = /(?:^|,)(?:target|dst|destination)=([^,]*)/.exec(mount?.text ?? '')?.[1] ?? ''
      throw new DockerfileError(
        `cannot mount from stage ${goQuote(mount?.from ?? '')} to ${goQuote(target)}, stage needs to be defined before current command`,
      )
    }
    const from = instruction.kind === 'copy' ? instruction.from : undefined
    throw new DockerfileError(
      `cannot copy from stage ${goQuote(from ?? '')}, it needs to be defined before current stage ${goQuote(label)}`,
    )
  }
}
