/**
 * Heredocs (H01–H07): `<<EOF` and the lines up to `EOF`.
 */
import { DockerfileError } from './error.ts'
import { type ExpandOptions, expand, expandWords } from './expand.ts'

export interface HeredocWord {
  readonly name: string
  /** The number before `<<`, as of `3<<EOF`; 0 when there is none. */
  readonly fileDescriptor: number
  /** False when any part of the name was quoted: the body is literal. */
  readonly expand: boolean
  /** `<<-`: leading tabs go, from the body and before the terminator. */
  readonly chomp: boolean
}

export interface Heredoc extends HeredocWord {
  /** The lines as they stand in the file, line breaks included. */
  readonly content: string
}

const unset = () => undefined
const raw: ExpandOptions = { quoting: 'keep', unset: 'keep' }

/** The heredocs a line of RUN, COPY or ADD announces, in order. A line that does not lex has none. */
export function heredocWords(line: string): HeredocWord[] {
  if (!line.includes('<<')) return []
  let words: readonly string[]
  try {
    words = expandWords(line, unset, raw)
  } catch (error) {
    if (error instanceof DockerfileError) return []
    throw error
  }
  return words.flatMap(word => parseHeredocWord(word) ?? [])
}

/** The heredoc a word stands for; `undefined` when it is an ordinary word. */
export function parseHeredocWord(word: string): HeredocWord | undefined {
  const match = /^(\d*)<<(-?)[\t\n\f\r ]*([^<]*)$/.exec(word)
  const [, descriptor = '', dash = '', name = ''] = match ?? []
  if (name === '') return undefined
  const words = expandWords(name, unset, { unset: 'keep' })
  const [only] = words
  if (words.length !== 1 || only === undefined) return undefined
  const quoted = expand(name, unset, raw)
  return {
    name: only,
    fileDescriptor: Number(descriptor),
    expand: countQuotes(quoted.text) === countQuotes(only),
    chomp: dash === '-',
  }
}

/** As {@link parseHeredocWord}; a word that does not lex is an ordinary word. */
export function tryHeredocWord(word: string): HeredocWord | undefined {
  try {
    return parseHeredocWord(word)
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}

/** Whether `line` (without its line break) ends the heredoc. */
export function isTerminator(heredoc: HeredocWord, line: string): boolean {
  return (heredoc.chomp ? line.replace(/^\t+/, '') : line) === heredoc.name
}

/** The body as it is used: without leading tabs after `<<-`. */
export function heredocBody(heredoc: Heredoc): string {
  return heredoc.chomp ? heredoc.content.replace(/^\t+/gm, '') : heredoc.content
}

/** The body's first line, for the name of a step. */
export function summarizeHeredoc(content: string): string {
  const lines = content.trim().split(/\r?\n/)
  return `${lines[0] ?? ''}${lines.length > 1 ? '...' : ''}`
}

function countQuotes(text: string): number {
  return text.split(/['"]/).length - 1
}
