/**
 * Variables and quotes in a word, as BuildKit's shell lexer treats them (rows V01–V08).
 *
 * It looks like sh and is not: there is no command substitution and no arithmetic, `${v:=w}` is
 * refused, and `$1` or `$@` are empty. A value is never expanded a second time, so what a build
 * argument brings in stays data.
 *
 * Limits, because values feed on values (`ENV A=$A$A` doubles): a result is at most
 * {@link maxExpandedLength} characters longer than its word, braces nest at most `maxNesting` deep.
 */
import { DockerfileError } from './error.ts'
import { readDollar } from './expand-dollar.ts'
import { goQuote } from './go-quote.ts'
import { codePointAt, type Lexer, type Reading, WordList } from './lexer.ts'

/** The value of a variable; `undefined` when it is not set. */
export type Lookup = (name: string) => string | undefined

export type Escape = '\\' | '`'

export interface ExpandOptions {
  readonly escape?: Escape
  /** `keep`: quotes and escapes stay where they are; only variables are replaced. */
  readonly quoting?: 'remove' | 'keep'
  /** `literal`: quotes mean nothing, as in the body of a heredoc. */
  readonly quotes?: 'group' | 'literal'
  /** `keep`: a variable that is not set stays as written. */
  readonly unset?: 'empty' | 'keep'
}

export interface Expansion {
  readonly text: string
  /** Names that were looked up and set. */
  readonly matched: ReadonlySet<string>
  /** Names that were looked up and not set. */
  readonly unmatched: ReadonlySet<string>
  /** Those of them that nothing stood in for: `$x`, not `${x:-y}` (V12). */
  readonly missing: ReadonlySet<string>
}

export const maxExpandedLength = 1 << 20

/** The word with its variables replaced and its quotes removed. Throws DockerfileError. */
export function expandWord(word: string, lookup: Lookup, options: ExpandOptions = {}): string {
  return expand(word, lookup, options).text
}

/**
 * As {@link expandWord}, split at blanks that were neither quoted nor escaped: those from a
 * variable split too.
 */
export function expandWords(word: string, lookup: Lookup, options: ExpandOptions = {}): string[] {
  const words = new WordList()
  read(word, openLexer(word, lookup, options), { words })
  return words.finish()
}

/** Everything there is to know about one expansion. Throws DockerfileError, quoting the word. */
export function expand(word: string, lookup: Lookup, options: ExpandOptions = {}): Expansion {
  const lexer = openLexer(word, lookup, options)
  const text = read(word, lexer, {})
  const { matched, unmatched, missing } = lexer
  return { text, matched, unmatched, missing }
}

function openLexer(word: string, lookup: Lookup, options: ExpandOptions): Lexer {
  return {
    source: word,
    at: 0,
    lookup,
    escape: options.escape ?? '\\',
    keepQuotes: options.quoting === 'keep',
    literalQuotes: options.quotes === 'literal',
    keepUnset: options.unset === 'keep',
    keepEscapes: options.quoting === 'keep',
    nesting: 0,
    matched: new Set(),
    unmatched: new Set(),
    missing: new Set(),
    read: readUntil,
  }
}

function read(word: string, lexer: Lexer, reading: Reading): string {
  try {
    return readUntil(lexer, reading)
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw new DockerfileError(`failed to process ${goQuote(word)}: ${error.message}`)
  }
}

/** Reads up to `stop` and past it, or to the end of the word. */
function readUntil(lexer: Lexer, reading: Reading): string {
  let text = ''
  while (lexer.at < lexer.source.length) {
    const char = lexer.source.charAt(lexer.at)
    if (char === reading.stop) {
      lexer.at++
      return text
    }
    text += readPiece(lexer, char, reading)
    if (text.length > maxExpandedLength + lexer.source.length) {
      throw new DockerfileError(`expansion is longer than ${maxExpandedLength} characters`)
    }
  }
  if (reading.stop !== undefined) {
    throw new DockerfileError(
      `unexpected end of statement while looking for matching ${reading.stop}`,
    )
  }
  return text
}

function readPiece(lexer: Lexer, char: string, reading: Reading): string {
  if (char === '$') {
    const value = readDollar(lexer)
    reading.words?.split(value)
    return value
  }
  const piece = readLiteral(lexer, char, reading)
  if (piece !== undefined) {
    reading.words?.add(piece)
    return piece
  }
  lexer.at++
  reading.words?.split(char)
  return char
}

/** A quoted part, an escaped character or a heredoc operator; `undefined`: a plain character. */
function readLiteral(lexer: Lexer, char: string, reading: Reading): string | undefined {
  if (char === lexer.escape) return readEscape(lexer)
  if (char === '<') return readHeredocOperator(lexer)
  if (lexer.literalQuotes) return undefined
  if (char === "'") return readSingleQuote(lexer, reading)
  if (char === '"') return readDoubleQuote(lexer, reading)
  return undefined
}

/** `\x` is x; an escape at the very end is nothing. */
function readEscape(lexer: Lexer): string {
  const kept = lexer.keepEscapes ? lexer.escape : ''
  const escaped = codePointAt(lexer, lexer.at + 1)
  lexer.at += 1 + escaped.length
  return kept + escaped
}

/** `<< EOF` is one word: the blanks belong to the operator. */
function readHeredocOperator(lexer: Lexer): string {
  const match = /<<[\t\r ]*|</y
  match.lastIndex = lexer.at
  const operator = match.exec(lexer.source)?.[0] ?? '<'
  lexer.at += operator.length
  return operator
}

function readSingleQuote(lexer: Lexer, reading: Reading): string {
  const close = lexer.source.indexOf("'", lexer.at + 1)
  if (close === -1) {
    lexer.at = lexer.source.length
    throw new DockerfileError('unexpected end of statement while looking for matching single-quote')
  }
  const content = lexer.source.slice(lexer.at + 1, close)
  lexer.at = close + 1
  const inner =
    reading.pattern === true ? content.replaceAll(lexer.escape, lexer.escape.repeat(2)) : content
  return lexer.keepQuotes ? `'${inner}'` : inner
}

function readDoubleQuote(lexer: Lexer, reading: Reading): string {
  const quote = lexer.keepQuotes ? '"' : ''
  let text = quote
  lexer.at++
  while (lexer.at < lexer.source.length) {
    const char = lexer.source.charAt(lexer.at)
    if (char === '"') {
      lexer.at++
      return text + quote
    }
    text += char === '$' ? readDollar(lexer) : readQuotedChar(lexer, char, reading)
  }
  throw new DockerfileError('unexpected end of statement while looking for matching double-quote')
}

/** Inside double quotes only `"`, `$` and the escape character can be escaped. */
function readQuotedChar(lexer: Lexer, char: string, reading: Reading): string {
  lexer.at++
  if (char !== lexer.escape) return char
  const next = lexer.source.charAt(lexer.at)
  if (next === '') return ''
  if (next === '"' || next === '$' || next === lexer.escape) {
    lexer.at++
    return (lexer.keepEscapes ? char : '') + next
  }
  const doubled = lexer.keepEscapes && (!lexer.keepQuotes || reading.pattern === true)
  return doubled ? char + char : char
}
