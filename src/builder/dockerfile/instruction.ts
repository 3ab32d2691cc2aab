/**
 * A Dockerfile as values: one `Instruction` per instruction, a union by `kind`.
 *
 * Words stand as written: variables unexpanded, quotes kept where expansion will remove them.
 */
import type { Heredoc } from './heredoc.ts'
import type { Span } from './span.ts'

export type Command =
  /** `script` goes to the shell as one argument. */
  | { readonly form: 'shell'; readonly script: string }
  | { readonly form: 'exec'; readonly argv: readonly string[] }

interface InstructionBase {
  readonly span: Span
  /** The instruction word as typed: `run`. */
  readonly word: string
  /** The instruction on one line, continuations joined. */
  readonly code: string
  /** Comment lines directly above it, without `#`. */
  readonly comments: readonly string[]
}

export interface FromInstruction extends InstructionBase {
  readonly kind: 'from'
  readonly image: string
  readonly platform?: string
  /** Lower-cased. */
  readonly as?: string
  /** The words after the image as typed: `['as', 'Build']`. */
  readonly typedAs: readonly string[]
}

export interface ArgDefinition {
  readonly name: string
  readonly value?: string
}

export interface ArgInstruction extends InstructionBase {
  readonly kind: 'arg'
  readonly args: readonly ArgDefinition[]
}

export interface KeyValue {
  readonly key: string
  readonly value: string
  /** Written `KEY value`, without `=`. */
  readonly legacy: boolean
}

export interface PairsInstruction extends InstructionBase {
  readonly kind: 'env' | 'label'
  readonly pairs: readonly KeyValue[]
}

export interface RunInstruction extends InstructionBase {
  readonly kind: 'run'
  readonly command: Command
  readonly heredocs: readonly Heredoc[]
  readonly mounts: readonly MountFlag[]
  readonly network: 'default' | 'none' | 'host'
  readonly security: 'sandbox' | 'insecure'
  readonly devices: readonly { readonly name: string; readonly required: boolean }[]
  /** In no Dockerfile: the user wants a shell there. */
  readonly isShell?: true
}

/** `--mount=…`, parsed once its variables are known; `from` cannot hold any. */
export interface MountFlag {
  readonly text: string
  readonly from?: string
}

/** COPY and ADD: the flags that only one of them has are absent on the other. */
export interface CopyInstruction extends InstructionBase {
  readonly kind: 'copy' | 'add'
  readonly sources: readonly string[]
  readonly heredocs: readonly Heredoc[]
  readonly dest: string
  readonly from?: string
  readonly chown?: string
  readonly chmod?: string
  readonly checksum?: string
  readonly link: boolean
  readonly parents: boolean
  readonly exclude: readonly string[]
  readonly keepGitDir?: boolean
  readonly unpack?: boolean
}

export interface CommandInstruction extends InstructionBase {
  readonly kind: 'cmd' | 'entrypoint'
  readonly command: Command
}

export interface TextInstruction extends InstructionBase {
  readonly kind: 'workdir' | 'user' | 'stopsignal' | 'maintainer'
  readonly text: string
}

export interface ListInstruction extends InstructionBase {
  readonly kind: 'expose' | 'volume' | 'shell'
  readonly values: readonly string[]
}

export interface HealthcheckInstruction extends InstructionBase {
  readonly kind: 'healthcheck'
  readonly test: readonly string[]
  /** Nanoseconds; 0 is "as the base says". */
  readonly interval: number
  readonly timeout: number
  readonly startPeriod: number
  readonly startInterval: number
  readonly retries: number
}

export interface OnbuildInstruction extends InstructionBase {
  readonly kind: 'onbuild'
  /** The trigger as stored in the image, heredoc bodies included. */
  readonly trigger: string
}

export type Instruction =
  | FromInstruction
  | ArgInstruction
  | PairsInstruction
  | RunInstruction
  | CopyInstruction
  | CommandInstruction
  | TextInstruction
  | ListInstruction
  | HealthcheckInstruction
  | OnbuildInstruction

export type InstructionKind = Instruction['kind']
