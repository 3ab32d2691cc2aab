/**
 * `$name`, `${name}` and `${name` with a modifier `}` (V01–V06).
 */
import { DockerfileError } from './error.ts'
import { replacePattern, trimPattern } from './expand-pattern.ts'
import { codePointAt, type Lexer, type Reading } from './lexer.ts'

export const maxNesting = 200

/** What stands for the variable at the lexer's place, which is a `$`. Throws DockerfileError. */
export function readDollar(lexer: Lexer): string {
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
  const { pattern, replacement } = readReplacementOperands(lexer)
  const value = variable(lexer, name)
  if (lexer.keepUnset && value === undefined) return `\${${name}/${pattern}/${replacement}}`
  return replacePattern({ value: value ?? '', pattern, replacement, all })
}

/** `pattern/replacement}`, or `pattern}` as in bash, which replaces with nothing. */
function readReplacementOperands(lexer: Lexer): { pattern: string; replacement: string } {
  const start = lexer.at
  try {
    const pattern = readOperand(lexer, { stop: '/', pattern: true }, true)
    return { pattern, replacement: readOperand(lexer, { stop: '}' }, true) }
  } catch (error) {
    if (!(error instanceof DockerfileError) || lexer.at < lexer.source.length) throw error
    lexer.at = start
    const pattern = readUntilBrace(lexer)
    if (pattern === undefined) throw error
    return { pattern, replacement: '' }
  }
}

function readUntilBrace(lexer: Lexer): string | undefined {
  try {
    return readOperand(lexer, { stop: '}', pattern: true }, true)
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}

/** An operand of a substitution; running off the end of the word means a brace is missing. */
function readOperand(lexer: Lexer, reading: Reading, keepEscapes: boolean): string {
  const before = lexer.keepEscapes
  lexer.keepEscapes = keepEscapes
  try {
    return lexer.read(lexer, reading)
  } catch (error) {
    if (lexer.at < lexer.source.length) throw error
    throw reading.stop === '/'
      ? new DockerfileError(`syntax error: missing '/' in \${}`)
      : missingBrace()
  } finally {
    lexer.keepEscapes = before
  }
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
