/**
 * Parser directives (D01–D05): `# syntax=`, `# escape=`, `# check=` at the very top of the file.
 */
import { DockerfileError } from './error.ts'
import type { Escape } from './expand.ts'
import { goQuote } from './go-quote.ts'
import { trimSpace, trimStart } from './space.ts'

const directiveNames = ['syntax', 'escape', 'check'] as const
export type DirectiveName = (typeof directiveNames)[number]

export interface Directive {
  readonly name: DirectiveName
  readonly value: string
  readonly line: number
}

/** `name = value`, as found after a comment sign; names that mean nothing to us are no directive. */
export function parseDirective(comment: string, line: number): Directive | undefined {
  const match = /^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.*\S)[\t\n\f\r ]*$/.exec(
    trimStart(comment),
  )
  const typed = match?.[1]?.toLowerCase()
  const name = directiveNames.find(known => known === typed)
  const value = match?.[2]
  return name === undefined || value === undefined ? undefined : { name, value, line }
}

/** The leading directives of a file, one line after another, until the first other line. */
export interface DirectiveReader {
  readonly found: Directive[]
  isDone: boolean
}

/** Takes the next line of the file; whether it was a directive. Throws DockerfileError (D02). */
export function readDirective(reader: DirectiveReader, line: string, number: number): boolean {
  if (reader.isDone) return false
  const directive = line.startsWith('#') ? parseDirective(line.slice(1), number) : undefined
  if (directive === undefined) {
    reader.isDone = true
    return false
  }
  if (reader.found.some(({ name }) => name === directive.name)) {
    throw new DockerfileError(`only one ${directive.name} parser directive can be used`)
  }
  reader.found.push(directive)
  return true
}

/** The escape character a directive asks for. Throws DockerfileError (D03). */
export function parseEscape(value: string): Escape {
  if (value === '\\' || value === '`') return value
  throw new DockerfileError(`invalid escape token '${value}' does not match \` or \\`)
}

/**
 * The frontend a file asks for (D04): `# syntax=`, `// syntax=`, `{"syntax": …}`, after an optional
 * first line with `#!`.
 */
export function detectSyntax(source: string): string | undefined {
  const text = source.replace(/^\ufeff/, '').replace(/^#![^\n]*\n?/, '')
  return leadingSyntax(text, '#') ?? leadingSyntax(text, '//') ?? jsonSyntax(text)
}

function leadingSyntax(text: string, sign: string): string | undefined {
  const seen = new Set<DirectiveName>()
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at)
    const line = text.slice(at, end === -1 ? undefined : end).replace(/\r+$/, '')
    const directive = line.startsWith(sign) ? parseDirective(line.slice(sign.length), 0) : undefined
    if (directive === undefined || seen.has(directive.name)) return undefined
    if (directive.name === 'syntax') return directive.value.split(' ')[0]
    seen.add(directive.name)
    if (end === -1) return undefined
    at = end + 1
  }
  return undefined
}

function jsonSyntax(text: string): string | undefined {
  if (!text.trimStart().startsWith('{')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    const syntax = value instanceof Object && 'syntax' in value ? value.syntax : undefined
    return typeof syntax === 'string' ? syntax : undefined
  } catch {
    return undefined
  }
}

/** What `# check=` says: which lint rules run, and whether a finding fails the build (D05). */
export interface CheckOptions {
  readonly skip: 'all' | readonly string[]
  readonly experimental: 'all' | readonly string[]
  readonly error: boolean
}

export const defaultCheck: CheckOptions = { skip: [], experimental: [], error: false }

/** `skip=A,B;error=true;experimental=all`. Throws DockerfileError. */
export function parseCheck(text: string): CheckOptions {
  if (trimSpace(text) === '') return defaultCheck
  return text.split(';').reduce<CheckOptions>(addCheckOption, defaultCheck)
}

function addCheckOption(options: CheckOptions, option: string): CheckOptions {
  const equals = option.indexOf('=')
  if (equals === -1) throw invalidCheck(trimSpace(option))
  const key = trimSpace(option.slice(0, equals))
  const value = trimSpace(option.slice(equals + 1))
  switch (key) {
    case 'skip':
    case 'experimental':
      return { ...options, [key]: value === 'all' ? value : value.split(',').map(trimSpace) }
    case 'error':
      return { ...options, error: parseBoolean(value) ?? failCheck(option) }
    default:
      throw invalidCheck(key)
  }
}

function invalidCheck(option: string): DockerfileError {
  return new DockerfileError(
    `failed to parse check options: invalid check option ${goQuote(option)}`,
  )
}

function failCheck(option: string): never {
  const value = option.slice(option.indexOf('=') + 1).trim()
  throw new DockerfileError(
    `failed to parse check options: failed to parse check option ${goQuote(option)}: strconv.ParseBool: parsing ${goQuote(value)}: invalid syntax`,
    { hint: 'write error=true or error=false' },
  )
}

/** The spellings Go's `strconv.ParseBool` takes; `undefined` for any other. */
export function parseBoolean(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  return undefined
}
