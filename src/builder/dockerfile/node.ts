/**
 * An instruction split into word, flags and arguments, before any of them is understood (L11–L18).
 */
import { DockerfileError } from './error.ts'
import type { Escape } from './expand.ts'
import { goQuote } from './go-quote.ts'
import { type Heredoc, heredocWords, isTerminator } from './heredoc.ts'
import type { Instruction, InstructionKind, KeyValue } from './instruction.ts'
import { type LineReader, type LogicalLine, nextLine } from './lines.ts'
import { cutAtSpace, isSpace, splitWords, trimStart } from './space.ts'
import type { Span } from './span.ts'
import { quotedWords, splitInstruction } from './words.ts'

/** The arguments in the shape their instruction takes them. */
export type Arguments =
  | { readonly form: 'json'; readonly values: readonly string[] }
  | { readonly form: 'words'; readonly values: readonly string[] }
  /** The rest of the line as one argument, or none. */
  | { readonly form: 'text'; readonly values: readonly string[] }
  | { readonly form: 'pairs'; readonly pairs: readonly KeyValue[] }
  /** HEALTHCHECK: a type, then a command; ONBUILD: another instruction. */
  | { readonly form: 'typed'; readonly type: string; readonly rest: Arguments }
  | { readonly form: 'nested'; readonly node: Node }
  | { readonly form: 'none' }

export interface Node {
  readonly word: string
  readonly flags: readonly string[]
  readonly args: Arguments
  /** The joined line, blanks around it included. */
  readonly line: string
  readonly span: Span
  readonly comments: readonly string[]
  readonly heredocs: readonly Heredoc[]
}

/** What every instruction carries along from its node. */
export type Common = Pick<Instruction, 'span' | 'word' | 'code' | 'comments'>

type Shape = (rest: string, context: ShapeContext) => Arguments

interface ShapeContext {
  readonly keyword: string
  readonly escapeChar: Escape
  readonly line: LogicalLine
}

const none: Arguments = { form: 'none' }

const shapes: Readonly<Record<InstructionKind, Shape>> = {
  add: jsonOrWords,
  arg: quotedList,
  cmd: jsonOrText,
  copy: jsonOrWords,
  entrypoint: jsonOrText,
  env: pairs,
  expose: words,
  from: words,
  healthcheck: typed,
  label: pairs,
  maintainer: text,
  onbuild: nested,
  run: jsonOrText,
  shell: jsonOrText,
  stopsignal: text,
  user: text,
  volume: jsonOrWords,
  workdir: text,
}

/** Instruction words, lower-case. */
export const keywords = Object.keys(shapes) as readonly InstructionKind[]

export function keywordOf(word: string): InstructionKind | undefined {
  const lower = word.toLowerCase()
  return keywords.find(keyword => keyword === lower)
}

/** The arguments as a flat list, whatever their form. */
export function valuesOf(node: Node): readonly string[] {
  return 'values' in node.args ? node.args.values : []
}

/** Which of `kinds` the node's word is: a parser that serves several asks. */
export function kindOf<Kind extends InstructionKind>(node: Node, kinds: readonly Kind[]): Kind {
  const keyword = keywordOf(node.word)
  const kind = kinds.find(candidate => candidate === keyword)
  if (kind === undefined) throw new Error(`${node.word} is parsed by the wrong function`)
  return kind
}

/** Splits an instruction and takes the heredocs that follow it. Throws DockerfileError. */
export function readNode(reader: LineReader, line: LogicalLine): Node {
  const node = splitNode(line, reader.escape)
  if (!takesHeredocs(node)) return node
  const heredocs: Heredoc[] = []
  let { span } = line
  for (const word of heredocWords(line.text)) {
    const body = readHeredocBody(reader, line, terminator => isTerminator(word, terminator))
    heredocs.push({ ...word, content: body.content })
    span = body.span
  }
  return { ...node, heredocs, span }
}

function splitNode(line: LogicalLine, escapeChar: Escape): Node {
  const { word, flags, rest } = splitInstruction(line.text, escapeChar)
  const keyword = keywordOf(word)
  const context: ShapeContext = { keyword: keyword ?? word, escapeChar, line }
  return {
    word,
    flags,
    args: keyword === undefined ? none : shapes[keyword](rest, context),
    line: line.text,
    span: line.span,
    comments: line.comments,
    heredocs: [],
  }
}

/** RUN, COPY and ADD not in JSON form, or an ONBUILD of one (H01). */
function takesHeredocs(node: Node): boolean {
  if (node.args.form === 'nested') return takesHeredocs(node.args.node)
  const keyword = keywordOf(node.word)
  return (keyword === 'run' || keyword === 'copy' || keyword === 'add') && node.args.form !== 'json'
}

function readHeredocBody(
  reader: LineReader,
  opening: LogicalLine,
  isEnd: (line: string) => boolean,
): { content: string; span: Span } {
  const parts: string[] = []
  let span = opening.span
  for (let line = nextLine(reader); line !== undefined; line = nextLine(reader)) {
    span = { ...opening.span, endLine: line.number, end: line.end }
    if (isEnd(line.text)) return { content: parts.join(''), span }
    parts.push(line.raw)
  }
  throw new DockerfileError('unterminated heredoc', { span, file: reader.file })
}

function text(rest: string): Arguments {
  return { form: 'text', values: rest === '' ? [] : [rest] }
}

function words(rest: string): Arguments {
  return { form: 'words', values: splitWords(rest) }
}

function quotedList(rest: string, { escapeChar }: ShapeContext): Arguments {
  return { form: 'words', values: quotedWords(rest, escapeChar) }
}

function jsonOrText(rest: string): Arguments {
  return json(rest) ?? text(rest)
}

function jsonOrWords(rest: string): Arguments {
  return json(rest) ?? words(rest)
}

/** The JSON form, if it is one (L13). Throws DockerfileError when it is an array of other things. */
function json(rest: string): Arguments | undefined {
  if (!trimStart(rest).startsWith('[')) return undefined
  let value: unknown
  try {
    value = JSON.parse(rest)
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  const values: readonly unknown[] = value
  const strings = values.filter(item => typeof item === 'string')
  if (strings.length !== values.length) {
    throw new DockerfileError(
      'when using JSON array syntax, arrays must be comprised of strings only',
    )
  }
  // Half a character cannot be written as UTF-8: as in Go, U+FFFD stands for it.
  return { form: 'json', values: strings.map(item => Buffer.from(item).toString()) }
}

/** ENV and LABEL: `k=v …`, or the old `KEY rest of the line` (L15). */
function pairs(rest: string, { keyword, escapeChar }: ShapeContext): Arguments {
  const items = quotedWords(rest, escapeChar)
  const [first] = items
  if (first === undefined) return { form: 'pairs', pairs: [] }
  if (first.includes('=')) return { form: 'pairs', pairs: items.map(keyValue) }
  const [key, value] = cutAtSpace(rest)
  if (value === undefined) {
    throw new DockerfileError(`${keyword.toUpperCase()} must have two arguments`)
  }
  return { form: 'pairs', pairs: [{ key, value, legacy: true }] }
}

function keyValue(word: string): KeyValue {
  const equals = word.indexOf('=')
  if (equals === -1) {
    throw new DockerfileError(
      `Syntax error - can't find = in ${goQuote(word)}. Must be of the form: name=value`,
    )
  }
  return { key: word.slice(0, equals), value: word.slice(equals + 1), legacy: false }
}

function typed(rest: string): Arguments {
  let end = 0
  while (end < rest.length && !isSpace(rest.charAt(end))) end++
  if (end === 0) return none
  return { form: 'typed', type: rest.slice(0, end), rest: jsonOrText(trimStart(rest.slice(end))) }
}

/** ONBUILD of ONBUILD is refused later; a line full of them must not nest as deep here. */
function nested(rest: string, { escapeChar, line }: ShapeContext): Arguments {
  if (rest === '') return none
  const inner: LogicalLine = { ...line, text: rest, comments: [] }
  const [word] = cutAtSpace(rest)
  if (keywordOf(word) !== 'onbuild') return { form: 'nested', node: splitNode(inner, escapeChar) }
  const { span, comments } = inner
  const node = { word, flags: [], args: none, line: rest, span, comments, heredocs: [] }
  return { form: 'nested', node }
}
