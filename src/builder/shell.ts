/**
 * A shell for the user inside a build: where a step failed, or after any step.
 *
 *   tsbuild shell build:12    the stage up to line 12, then a RUN that is the shell
 */
import type { SandboxSpec } from '../layerfs/sandbox/spec.ts'
import { OciError } from '../oci/errors.ts'
import type { Instruction, RunInstruction } from './dockerfile/instruction.ts'
import type { Dockerfile } from './dockerfile/parse.ts'
import { type Stage, splitStages } from './plan/split-stages.ts'
import { instructionsAt, type StepPlace } from './step-place.ts'

export interface ShellRequest {
  /** The step's own sandbox: its files so far, mounts, environment, user and limits. */
  readonly spec: SandboxSpec
  /** The shell that the step would be run by; the image may have none. */
  readonly program: string
  /** Names the sandbox; unique. */
  readonly id: string
  readonly stubs: string
  /** Why there is a shell: the step's failure, if it failed. */
  readonly failure?: Error
  readonly signal: AbortSignal
}

/** Resolves with the shell's exit code. Throws when it cannot be started. */
export type OpenShell = (request: ShellRequest) => Promise<number>

export interface ShellSettings {
  readonly open: OpenShell
  /** Whether a step that fails gets one. */
  readonly onError: boolean
}

/** Ends a build, of which nothing is wanted any more, though nothing failed. */
export class ShellEnded extends Error {
  override readonly name = 'ShellEnded'
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`The shell ended with exit code ${exitCode}`)
    this.exitCode = exitCode
  }
}

export interface ShellBuild {
  /** Ends in the shell. */
  readonly dockerfile: Dockerfile
  /** Of the stage, as a target is named. */
  readonly target: string
}

/** The Dockerfile up to `place`, and a shell after it. Throws `not-found`. */
export function withShell(dockerfile: Dockerfile, place: StepPlace): ShellBuild {
  const { stages } = splitStages(dockerfile)
  for (const stage of stages) {
    const last = instructionsAt(stage, place).at(-1)
    if (last === undefined) continue
    const end = dockerfile.instructions.indexOf(last) + 1
    const instructions = [...dockerfile.instructions.slice(0, end), shellAfter(last)]
    return { dockerfile: { ...dockerfile, instructions }, target: String(stage.index) }
  }
  throw notFound(stages, place)
}

function notFound(stages: readonly Stage[], { line = 0, ...place }: StepPlace): OciError {
  const names = stages.map(({ index, from }) => from.as ?? String(index)).join(', ')
  const starts = stages.flatMap(stage => instructionsAt(stage, place)).map(startOf)
  const around = [starts.findLast(start => start < line), starts.find(start => start > line)]
  const nearest = around.filter(start => start !== undefined).join(' and ')
  const there = line === 0 || nearest === '' ? '' : `; the nearest instructions are at ${nearest}`
  return new OciError('not-found', 'The Dockerfile has no such stage or line', {
    hint: `Its stages: ${names}${there}. Name a place as STAGE, STAGE:LINE or :LINE`,
  })
}

function startOf({ span }: Instruction): number {
  return span.startLine
}

/** With the mounts and rights of the RUN that it stands behind. */
function shellAfter(last: Instruction): RunInstruction {
  const like = last.kind === 'run' ? last : noRights
  const { mounts, network, security, devices } = like
  return {
    kind: 'run',
    isShell: true,
    command: { form: 'shell', script: '' },
    heredocs: [],
    mounts,
    network,
    security,
    devices,
    span: last.span,
    word: 'RUN',
    code: 'RUN (a shell for you)',
    comments: [],
  }
}

const noRights = { mounts: [], network: 'default', security: 'sandbox', devices: [] } as const
