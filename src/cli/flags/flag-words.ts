/**
 * Splits a command line into flags and positionals as pflag does, which docker's users rely on:
 *
 *   --name value   --name=value   -n value   -nvalue   -n=value   -qf value (q takes none)   --
 *
 * A flag that takes no value never takes the next word; one that takes a value takes the next word
 * whatever it looks like (`-e --`). Node's `parseArgs` differs on `-q=false` and on `-n=value`.
 */
import { usageError } from '../cli-error.ts'

export interface FlagWord {
  readonly name: string
  /** As typed: `-t` or `--tag`. */
  readonly typed: string
  /** `undefined`: a flag that takes no value stood alone. */
  readonly value: string | undefined
}

export interface SplitWords {
  readonly flags: readonly FlagWord[]
  readonly positionals: readonly string[]
}

export interface FlagShapes {
  /** The flag's table name, for a word without dashes; throws the error that an unknown one is. */
  resolve(typed: string): { readonly name: string; readonly takesValue: boolean }
  /** `first-ends-flags`: the first positional and all after it are positionals (docker run). */
  readonly positionals: 'interspersed' | 'first-ends-flags'
}

/** Throws a usage error for a flag without its value, and what `shapes.resolve` throws. */
export function splitWords(args: readonly string[], shapes: FlagShapes): SplitWords {
  const flags: FlagWord[] = []
  const positionals: string[] = []
  const rest = [...args]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      positionals.push(...rest)
      break
    }
    if (!word.startsWith('-') || word === '-') {
      positionals.push(word)
      if (shapes.positionals === 'interspersed') continue
      positionals.push(...rest)
      break
    }
    flags.push(...(word.startsWith('--') ? longFlag : shortFlags)(word, rest, shapes))
  }
  return { flags, positionals }
}

function longFlag(word: string, rest: string[], shapes: FlagShapes): FlagWord[] {
  const equals = word.indexOf('=')
  const typed = equals === -1 ? word : word.slice(0, equals)
  const { name, takesValue } = shapes.resolve(typed)
  if (equals !== -1) return [{ name, typed, value: word.slice(equals + 1) }]
  return [{ name, typed, value: takesValue ? nextWord(typed, rest) : undefined }]
}

/** `-qf Dockerfile`, `-tb:2`, `-q=false`: letters up to the first that takes a value. */
function shortFlags(word: string, rest: string[], shapes: FlagShapes): FlagWord[] {
  const flags: FlagWord[] = []
  for (let index = 1; index < word.length; index++) {
    const typed = `-${word[index]}`
    const { name, takesValue } = shapes.resolve(typed)
    const attached = word.slice(index + 1)
    if (attached.startsWith('=')) return [...flags, { name, typed, value: attached.slice(1) }]
    if (takesValue) {
      return [...flags, { name, typed, value: attached === '' ? nextWord(typed, rest) : attached }]
    }
    flags.push({ name, typed, value: undefined })
  }
  return flags
}

function nextWord(typed: string, rest: string[]): string {
  const value = rest.shift()
  if (value === undefined) throw usageError(`Flag ${typed} needs a value`)
  return value
}
