/**
 * What planning hands to the solver: stages in dependency order, and each stage's steps, as plain
 * values. Every variable is expanded, every default filled in; nothing here touches a disk.
 */
import type { ImageConfig } from '../../oci/image-config.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Command, FromInstruction, Instruction } from '../dockerfile/instruction.ts'
import type { Mode } from '../dockerfile/mode.ts'
import type { Span } from '../dockerfile/span.ts'
import type { GitSource } from './git-source.ts'

/** Where files or a base come from. */
export type Origin =
  | { readonly kind: 'context' }
  | { readonly kind: 'scratch' }
  | { readonly kind: 'stage'; readonly stage: number }
  /** `reference` is the full form: `docker.io/library/busybox:latest`. */
  | { readonly kind: 'image'; readonly reference: string; readonly platform: Platform }
  /** A `--build-context`, by the name it was given there. */
  | { readonly kind: 'named'; readonly name: string; readonly platform: Platform }

/** What is neither of the Dockerfile nor of its context. */
export type OutsideOrigin = Extract<Origin, { kind: 'image' | 'named' }>

export type BaseOrigin = Exclude<Origin, { kind: 'context' }>

export interface StagePlan {
  /** Its place among all FROM lines, from 0; what `COPY --from=0` counts. */
  readonly index: number
  readonly name?: string
  readonly base: BaseOrigin
  readonly platform: Platform
  readonly from: FromInstruction
  /** ONBUILD triggers of the base first, then what the stage says. */
  readonly instructions: readonly StageInstruction[]
  /** Stages, images and named contexts that must be there first; the base among them. */
  readonly needs: readonly Origin[]
  readonly span: Span
  readonly label: StageLabel
}

export interface StageInstruction {
  readonly instruction: Instruction
  /** Where to point in messages; of a trigger, the FROM that fired it. */
  readonly span: Span
  readonly fromTrigger: boolean
  /** What COPY reads from; the mounts of a RUN, in order. */
  readonly origins: readonly Origin[]
}

/** How the steps of a stage are called on the terminal. */
export interface StageLabel {
  /** `build`, `stage-2`, or nothing when there is only one stage. */
  readonly name: string
  readonly total: number
  /** `linux/arm64`, when several platforms are built at once. */
  readonly platform?: string
}

/** What every step has of its instruction. */
export interface StepBase {
  readonly span: Span
  /** `[build 2/5] RUN make`. */
  readonly displayName: string
  /** The `created_by` of the image's history. */
  readonly historyText: string
  readonly fromTrigger: boolean
  /** Comments above the instruction: they may switch lint rules off. */
  readonly comments: readonly string[]
}

export interface RunStep extends StepBase {
  readonly kind: 'run'
  readonly command: Command
  /** What is executed, the shell included. */
  readonly argv: readonly string[]
  /** Files that must exist while it runs: a heredoc that starts with `#!`. Mode 0755, read-only. */
  readonly scripts: readonly InlineFile[]
  /** `KEY=value`: the image's ENV, the declared ARGs, PATH. */
  readonly env: readonly string[]
  /** Names of those in `env` that are ARGs. */
  readonly args: readonly string[]
  /** `KEY=value`, for the process alone: neither in the cache key nor in history (A08, A10). */
  readonly proxyEnv: readonly string[]
  /** Absent: the one that all steps have. */
  readonly hostname?: string
  readonly cwd: string
  /** `user[:group]` as written, names unresolved; empty is root. */
  readonly user: string
  readonly network: 'default' | 'none' | 'host'
  readonly security: 'sandbox' | 'insecure'
  readonly devices: readonly Device[]
  readonly mounts: readonly RunMount[]
  /** A shell for the user, which gives no result. */
  readonly isShell?: true
}

export interface Device {
  readonly name: string
  readonly required: boolean
}

/** A file given in the Dockerfile itself. */
export interface InlineFile {
  /** Absolute, for a script; a bare name, for a heredoc that COPY places. */
  readonly path: string
  readonly content: string
}

interface FileOwner {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
}

/** Targets are absolute and cleaned. */
export type RunMount =
  | {
      readonly kind: 'bind'
      readonly from: Origin
      readonly source: string
      readonly target: string
      readonly readOnly: boolean
    }
  | ({
      readonly kind: 'cache'
      readonly id: string
      /** Where the first content comes from; `scratch`: empty. */
      readonly from: Origin
      readonly source: string
      readonly target: string
      readonly readOnly: boolean
      readonly sharing: 'shared' | 'private' | 'locked'
    } & FileOwner)
  | {
      readonly kind: 'tmpfs'
      readonly target: string
      readonly readOnly: boolean
      /** Bytes. */
      readonly size?: number
    }
  | ({
      readonly kind: 'secret'
      readonly id: string
      /** The file to make; absent when only `env` is wanted. */
      readonly target?: string
      readonly env?: string
      readonly required: boolean
    } & FileOwner)
  | ({
      readonly kind: 'ssh'
      readonly id: string
      /** Absent: `/run/buildkit/ssh_agent.N`. */
      readonly target?: string
      readonly required: boolean
    } & FileOwner)

export type Source =
  | {
      readonly kind: 'path'
      /** Absolute inside the origin, cleaned; may hold wildcards. */
      readonly path: string
      /** With `parents`: what of `path` is not repeated below the destination; `/` by default. */
      readonly pivot: string
    }
  | { readonly kind: 'heredoc'; readonly file: InlineFile }
  | {
      readonly kind: 'url'
      readonly url: string
      /** The file's name when the destination is a directory. */
      readonly name: string
    }
  | ({ readonly kind: 'git' } & GitSource)

export interface CopyStep extends StepBase {
  readonly kind: 'copy'
  readonly add: boolean
  readonly sources: readonly Source[]
  readonly from: Origin
  /** Absolute and cleaned; ends in `/` when it was written as a directory. */
  readonly dest: string
  readonly chown?: string
  readonly chmod?: Mode
  readonly link: boolean
  readonly parents: boolean
  readonly exclude: readonly string[]
  readonly checksum?: string
  readonly keepGitDir?: boolean
  readonly unpack?: boolean
}

export interface WorkdirStep extends StepBase {
  readonly kind: 'workdir'
  /** Absolute and cleaned, never `/`: that is a metadata step. */
  readonly path: string
  /** Who owns the directories that have to be made. */
  readonly user: string
}

/** Changes the config alone: ENV, LABEL, CMD, … and `WORKDIR /`. */
export interface MetadataStep extends StepBase {
  readonly kind: 'metadata'
}

export type Step = RunStep | CopyStep | WorkdirStep | MetadataStep

/** A stage with nothing left to decide. */
export interface PlannedStage {
  readonly stage: StagePlan
  readonly steps: readonly Step[]
  /**
   * The config after the last step. `history` is the base's and then one entry per step, without
   * `created`; `rootfs` is still the base's: the layers of the steps are not known yet.
   */
  readonly image: ImageConfig
  /** ARGs and ENV as they stand at the end: what `FROM` this stage begins with (A04). */
  readonly scope: Scope
}

/** The variables a stage has at one point, and what its ARGs add to history. */
export interface Scope {
  /** ENV and ARG together, by name, in order of first definition. */
  readonly variables: ReadonlyMap<string, string>
  /** Declared ARGs in order; without value when none was given. */
  readonly args: readonly { readonly name: string; readonly value?: string }[]
  /** Whether a WORKDIR was given in this Dockerfile (for lint). */
  readonly hasWorkdir: boolean
}
