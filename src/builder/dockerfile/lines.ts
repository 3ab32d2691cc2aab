/**
 * Physical lines, and the instructions they join to (L01–L07).
 *
 * Every character is looked at a fixed number of times: a file of any shape takes linear time.
 */
import { type Directive, type DirectiveReader, parseEscape, readDirective } from './directive.ts'
import { atSpan, DockerfileError } from './error.ts'
import type { Escape } from './expand.ts'
import { trimSpace, trimStart } from './space.ts'
import type { Span } from './span.ts'

/** Bytes of a physical line, its line break not counted. */
export const maxLineBytes = 65_535

export interface Line {
  /** 1-based. */
  readonly number: number
  readonly start: number
  readonly end: number
  /** Without line break. */
  readonly text: string
  /** With line break. */
  readonly raw: string
}

/** An instruction on one line, with the comments directly above it. */
export interface LogicalLine {
  readonly text: string
  readonly span: Span
  readonly comments: readonly string[]
  /** Its last line, when one before it was blank where a continuation was expected (L06). */
  readonly emptyContinuation?: Span
}

export interface LineReader {
  readonly source: string
  readonly file: string
  at: number
  number: number
  escape: Escape
  readonly directives: DirectiveReader
}

export function lineReader(source: string, file: string): LineReader {
  const text = source.startsWith('\ufeff') ? source.slice(1) : source
  return {
    source: text,
    file,
    at: 0,
    number: 0,
    escape: '\\',
    directives: { found: [], isDone: false },
  }
}

export function directivesOf(reader: LineReader): readonly Directive[] {
  return reader.directives.found
}

/** The next physical line. Throws DockerfileError when it is too long (L02). */
export function nextLine(reader: LineReader): Line | undefined {
  const { source, at } = reader
  if (at >= source.length) return undefined
  const newline = source.indexOf('\n', at)
  const end = newline === -1 ? source.length : newline + 1
  reader.at = end
  reader.number++
  const raw = source.slice(at, end)
  const line = { number: reader.number, start: at, end, raw, text: raw.replace(/[\r\n]+$/, '') }
  if (isTooLong(raw)) {
    throw new DockerfileError(`dockerfile line greater than max allowed size of ${maxLineBytes}`, {
      span: spanOf(line, line),
      file: reader.file,
    })
  }
  return line
}

function isTooLong(raw: string): boolean {
  if (raw.length * 3 <= maxLineBytes) return false
  return Buffer.byteLength(raw) - (raw.endsWith('\n') ? 1 : 0) > maxLineBytes
}

/** The next instruction, its continuations joined; comments and blank lines before it are passed. */
export function nextLogicalLine(reader: LineReader): LogicalLine | undefined {
  let comments: string[] = []
  for (let line = nextLine(reader); line !== undefined; line = nextLine(reader)) {
    const text = trimStart(line.text)
    if (takeDirective(reader, line, text)) continue
    if (text.startsWith('#')) {
      const comment = trimSpace(text.slice(1))
      // A comment without text separates: what stands above it belongs to nothing below.
      if (comment === '') comments = []
      else comments.push(comment)
    } else if (text === '') {
      comments = []
    } else {
      return joinContinuations(reader, line, comments)
    }
  }
  return undefined
}

function takeDirective(reader: LineReader, line: Line, text: string): boolean {
  return atSpan({ file: reader.file, span: spanOf(line, line) }, () => {
    const isDirective = readDirective(reader.directives, text, line.number)
    const last = reader.directives.found.at(-1)
    if (isDirective && last?.name === 'escape') reader.escape = parseEscape(last.value)
    return isDirective
  })
}

function joinContinuations(
  reader: LineReader,
  first: Line,
  comments: readonly string[],
): LogicalLine | undefined {
  const opening = withoutContinuation(trimStart(first.text), reader.escape)
  const parts = [opening.text]
  let hasBlankLine = false
  let isContinued = opening.isContinued
  let last = first
  while (isContinued) {
    const line = nextLine(reader)
    if (line === undefined) break
    last = line
    const text = trimStart(line.text)
    if (text.startsWith('#')) continue
    if (text === '') {
      hasBlankLine = true
      continue
    }
    const next = withoutContinuation(line.text, reader.escape)
    parts.push(next.text)
    isContinued = next.isContinued
  }
  const text = parts.join('')
  if (trimStart(text) === '') return undefined
  const span = spanOf(first, last)
  return {
    text,
    span,
    comments,
    ...(hasBlankLine ? { emptyContinuation: spanOf(last, last) } : {}),
  }
}

/**
 * The line without the escape character that ends it. An escape before the escape is data (L05),
 * except that a line of nothing else always continues.
 */
function withoutContinuation(text: string, escapeChar: Escape) {
  let end = text.length
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--
  const isContinued = text[end - 1] === escapeChar && (end === 1 || text[end - 2] !== escapeChar)
  return isContinued ? { text: text.slice(0, end - 1), isContinued } : { text, isContinued }
}

export function spanOf(first: Line, last: Line): Span {
  return { startLine: first.number, endLine: last.number, start: first.start, end: last.end }
}
