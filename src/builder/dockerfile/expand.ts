/**
 * Variables and quotes in a word, as BuildKit's shell lexer treats them (rows V01–V08).
 *
 * It looks like sh and is not: there is no command substitution and no arithmetic, `${v:=w}` is
 * refused, and `$1` or `$@` are empty. A value is never expanded a second time, so what a build
 * argument brings in stays data.
 *
 * Limits, because values feed on values (`ENV A=$A$A` doubles): a result is at most
 * {@link maxExpandedLength} characters, braces nest at most {@link maxNesting} deep.
 */
import { DockerfileError } from './error.ts'
import { replacePattern, trimPattern } from './expand-pattern.ts'
import { goQuote } from './go-quote.ts'
import { isSpace } from './space.ts'

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
  /** The text split at blanks that were neither quoted nor escaped. */
  readonly words: readonly string[]
  /** Names that were looked up and set. */
  readonly matched: ReadonlySet<string>
  /** Names that were looked up and not set. */
  readonly unmatched: ReadonlySet<string>
  /** Those of them that nothing stood in for: `$x`, not `${x:-y}` (V12). */
  readonly missing: ReadonlySet<string>
}

export const maxExpandedLength = 1 << 20
export const maxNesting = 200

/** The word with its variables replaced and its quotes removed. Throws DockerfileError. */
export function expandWord(word: string, lookup: Lookup, options: ExpandOptions = {}): string {
  return expand(word, lookup, options).text
}

/** As {@link expandWord}, split into words afterwards: blanks from a variable split too. */
export function expandWords(word: string, lookup: Lookup, options: ExpandOptions = {}): string[] {
  return [...expand(word, lookup, options).words]
}

/** Everything there is to know about one expansion. Throws DockerfileError, quoting the word. */
export function expand(word: string, lookup: Lookup, options: ExpandOptions = {}): Expansion {
  const lexer: Lexer = {
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
  }
  try {
    const words = new WordList()
    const text = readUntil(lexer, { words })
    const { matched, unmatched, missing } = lexer
    return { text, words: words.finish(), matched, unmatched, missing }
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw new DockerfileError(`failed to process ${goQuote(word)}: ${error.message}`)
  }
}

interface Lexer {
  readonly source: string
  at: number
  readonly lookup: Lookup
  readonly escape: Escape
  readonly keepQuotes: boolean
  readonly literalQuotes: boolean
  readonly keepUnset: boolean
  /** Changes inside the operands of `${v#…}` and `${v/…/…}`, where a pattern needs its escapes. */
  keepEscapes: boolean
  nesting: number
  readonly matched: Set<string>
  readonly unmatched: Set<string>
  readonly missing: Set<string>
}

/** Splits at blanks, except where characters come in as they are. */
class WordList {
  private readonly words: string[] = []
  private word = ''

  split(text: string): void {
    for (const char of text) {
      if (isSpace(char)) this.finish()
      else this.word += char
    }
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

interface Reading {
  /** The character that ends the operand; absent: the end of the word does. */
  readonly stop?: string
  /** Escape characters inside quotes are doubled, because the text is parsed again as a pattern. */
  readonly pattern?: true
  readonly words?: WordList
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
    if (text.length > maxExpandedLength) {
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

function readDollar(lexer: Lexer): string {
  const start = lexer.at
  lexer.at++
  if (lexer.source.charAt(lexer.at) === '{') {
    if (lexer.nesting >= maxNesting) {
      throw new DockerfileError(`substitutions are nested more than ${maxNesting} deep`)
    }
    lexer.nesting++
    const value = readBraces(lexer)
    lexer.nesting--
    return value
  }
  const name = readName(lexer)
  if (name === '') return '$'
  return plainVariable(lexer, name, lexer.source.slice(start, lexer.at))
}

/** A name, a run of digits, or one of the shell's special parameters. */
function readName(lexer: Lexer): string {
  const match = /\p{Nd}+|[@*#?\-$!]|[\p{L}_][\p{L}\p{Nd}_]*/uy
  match.lastIndex = lexer.at
  const name = match.exec(lexer.source)?.[0] ?? ''
  lexer.at += name.length
  return name
}

/** A variable without modifier, written as `asWritten`. */
function plainVariable(lexer: Lexer, name: string, asWritten: string): string {
  const value = variable(lexer, name)
  if (value !== undefined) return value
  lexer.missing.add(name)
  return lexer.keepUnset ? asWritten : ''
}

function variable(lexer: Lexer, name: string): string | undefined {
  const value = lexer.lookup(name)
  if (value === undefined) lexer.unmatched.add(name)
  else lexer.matched.add(name)
  return value
}

/** `{…}` after a `$`. */
function readBraces(lexer: Lexer): string {
  lexer.at++
  const first = lexer.source.charAt(lexer.at)
  if (first === '') throw missingBrace()
  if (first === '{' || first === '}' || first === ':') {
    throw new DockerfileError('syntax error: bad substitution')
  }
  const name = readName(lexer)
  const operator = codePointAt(lexer, lexer.at)
  lexer.at += operator.length
  if (operator === '') throw missingBrace()
  if (operator === '}') {
    return plainVariable(lexer, name, `\${${name}}`)
  }
  if (operator === '/') return readReplacement(lexer, name)
  if (operator !== ':') return readModifier(lexer, name, operator)
  const second = codePointAt(lexer, lexer.at)
  lexer.at += second.length
  return readModifier(lexer, name, `:${second}`)
}

function readModifier(lexer: Lexer, name: string, modifier: string): string {
  if (!/^(?::[^#%]?|[-+?#%])$/su.test(modifier)) throw unsupported(modifier)
  const isTrim = modifier === '#' || modifier === '%'
  const word = readOperand(lexer, isTrim ? { stop: '}', pattern: true } : { stop: '}' }, isTrim)
  const value = variable(lexer, name)
  if (lexer.keepUnset && value === undefined) return `\${${name}${modifier}${word}}`
  if (isTrim) return trimPattern({ value: value ?? '', word, side: modifier })
  return applyModifier(name, value, { modifier, word })
}

function applyModifier(
  name: string,
  value: string | undefined,
  { modifier, word }: { readonly modifier: string; readonly word: string },
): string {
  const isSet = value !== undefined && !(modifier.startsWith(':') && value === '')
  switch (modifier.at(-1)) {
    case '-':
      return isSet ? value : word
    case '+':
      return isSet ? word : ''
    case '?':
      if (isSet) return value
      throw new DockerfileError(`${name}: ${word || notAllowed(value)}`)
    default:
      throw unsupported(modifier)
  }
}

function readReplacement(lexer: Lexer, name: string): string {
  const all = lexer.source.charAt(lexer.at) === '/'
  if (all) lexer.at++
  const pattern = readOperand(lexer, { stop: '/', pattern: true }, true)
  const replacement = readOperand(lexer, { stop: '}' }, true)
  const value = variable(lexer, name)
  if (lexer.keepUnset && value === undefined) return `\${${name}/${pattern}/${replacement}}`
  return replacePattern({ value: value ?? '', pattern, replacement, all })
}

/** An operand of a substitution; running off the end of the word means a brace is missing. */
function readOperand(lexer: Lexer, reading: Reading, keepEscapes: boolean): string {
  const before = lexer.keepEscapes
  lexer.keepEscapes = keepEscapes
  try {
    return readUntil(lexer, reading)
  } catch (error) {
    if (lexer.at < lexer.source.length) throw error
    throw reading.stop === '/'
      ? new DockerfileError(`syntax error: missing '/' in \${}`)
      : missingBrace()
  } finally {
    lexer.keepEscapes = before
  }
}

function codePointAt(lexer: Lexer, at: number): string {
  const point = lexer.source.codePointAt(at)
  return point === undefined ? '' : String.fromCodePoint(point)
}

function notAllowed(value: string | undefined): string {
  return `is not allowed to be ${value === undefined ? 'unset' : 'empty'}`
}

function missingBrace(): DockerfileError {
  return new DockerfileError("syntax error: missing '}'")
}

function unsupported(modifier: string): DockerfileError {
  return new DockerfileError(`unsupported modifier (${modifier}) in substitution`)
}
