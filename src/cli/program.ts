/** A program as a value: its words and its commands, each loaded only when it runs. */
import type { Command } from './command.ts'

export interface CommandEntry {
  readonly name: string
  /** Other names; may be two words: `image ls`. */
  readonly aliases?: readonly string[]
  readonly summary: string
  /** Heading in the program's help; "Commands" unless given. */
  readonly group?: string
  /** It touches files that belong to others than the user. */
  readonly asRoot?: true
  /** Imports the command: only the one that runs is ever loaded. */
  load(): Promise<Command>
}

export interface Program {
  readonly name: string
  readonly summary: string
  readonly examples: readonly string[]
  readonly commands: readonly CommandEntry[]
  /** The command that runs when the first word names none: `tsrun busybox` is `tsrun run busybox`. */
  readonly fallback?: string
  /** First words that the fallback takes; all of them unless given. */
  readonly isFallbackWord?: (word: string) => boolean
}
