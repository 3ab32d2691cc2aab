/**
 * Where the expansion of a word has got to: shared by its parts, owned by one call of `expand`.
 */
import { isSpace } from './space.ts'

export interface Lexer {
  readonly source: string
  at: number
  readonly lookup: (name: string) => string | undefined
  readonly escape: string
  readonly keepQuotes: boolean
  readonly literalQuotes: boolean
  readonly keepUnset: boolean
  /** Changes inside the operands of `${v#…}` and `${v/…/…}`, where a pattern needs its escapes. */
  keepEscapes: boolean
  nesting: number
  readonly matched: Set<string>
  readonly unmatched: Set<string>
  readonly missing: Set<string>
  /** Reads an operand of a substitution: a word inside the word. */
  readonly read: (lexer: Lexer, reading: Reading) => string
}

export interface Reading {
  /** The character that ends the operand; absent: the end of the word does. */
  readonly stop?: string
  /** Escape characters inside quotes are doubled, because the text is parsed again as a pattern. */
  readonly pattern?: true
  readonly words?: WordList
}

/** Splits at blanks, except where characters come in as they are. */
export class WordList {
  private readonly words: string[] = []
  private word = ''

  split(text: string): void {
    let start = 0
    for (let at = 0; at < text.length; at++) {
      if (!isSpace(text.charAt(at))) continue
      this.word += text.slice(start, at)
      this.finish()
      start = at + 1
    }
    this.word += text.slice(start)
  }

  add(text: string): void {
    this.word += text
  }

  finish(): string[] {
    if (this.word !== '') this.words.push(this.word)
    this.word = ''
    return this.words
  }
}

/** The whole character at `at`, `''` past the end. */
export function codePointAt(lexer: Lexer, at: number): string {
  const point = lexer.source.codePointAt(at)
  return point === undefined ? '' : String.fromCodePoint(point)
}
