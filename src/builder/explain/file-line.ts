/**
 * A file that a step reads, as a line: all that its result has of it. A key has the digest of all
 * lines; the lines themselves are kept to tell which files changed.
 *
 *   path \0 mode owner \0 type more \0 attributes \0 content \0 \n
 *
 * No path, owner, link target or digest has a NUL, and JSON has none: no two files give one line, and
 * lines that follow each other can be told apart again.
 */
import { constants } from 'node:fs'

export interface FileLine {
  /** As text; `pathText` of steps makes it. */
  readonly path: string
  readonly mode: number
  /** `uid:gid`, or what `--chown` says. */
  readonly owner: string
  /** As `stat` has it: S_IFREG and the others. */
  readonly type: number
  /** Of a file its size, of a link its target, of a device its numbers. */
  readonly more: string | number
  /** Extended ones. */
  readonly attributes: readonly string[]
  /** Stands for the bytes of a file. */
  readonly content: string
}

/** One template: there is a line for every file of a context. */
export function fileLine(file: FileLine): string {
  const { path, mode, owner, type, more, attributes, content } = file
  const extra = attributes.length === 0 ? '' : JSON.stringify(attributes)
  return `${path}\0${mode} ${owner}\0${type} ${more}\0${extra}\0${content}\0\n`
}

/** What a person is told of when it changes: each as text. */
export interface ReadLine {
  readonly path: string
  readonly mode: string
  readonly owner: string
  readonly type: string
  /** What is not told by its own name: a link's target, a device's numbers, a file's bytes. */
  readonly content: string
  readonly attributes: string
}

const end = '\0\n'

/** Of lines that stand whole, one behind the other. */
export function readLines(lines: Buffer): ReadLine[] {
  const text = lines.toString()
  return text === '' ? [] : text.slice(0, -end.length).split(end).map(readLine)
}

function readLine(line: string): ReadLine {
  const [path = '', access = '', kind = '', attributes = '', body = ''] = line.split('\0')
  const [mode, owner] = cut(access)
  const [type, more] = cut(kind)
  const isFile = Number(type) === constants.S_IFREG
  const octal = Number(mode).toString(8)
  return { path, mode: octal, owner, type, content: isFile ? body : more, attributes }
}

function cut(text: string): [string, string] {
  const space = text.indexOf(' ')
  return [text.slice(0, space), text.slice(space + 1)]
}

/** Both without the lines that they begin and end with alike: most of a context does not change. */
export function differingLines(earlier: Buffer, now: Buffer): [Buffer, Buffer] {
  const begin = commonLength(earlier, now, (bytes, from, to) => bytes.subarray(from, to))
  const first = lineEnd(now.subarray(0, begin).lastIndexOf(end))
  const [a, b] = [earlier.subarray(first), now.subarray(first)]
  const close = commonLength(a, b, (bytes, from, to) =>
    bytes.subarray(bytes.length - to, bytes.length - from),
  )
  const last = b.indexOf(end, b.length - close)
  const rest = last === -1 ? 0 : b.length - lineEnd(last)
  return [a.subarray(0, a.length - rest), b.subarray(0, b.length - rest)]
}

/** Behind the end of a line that was found there; -1: where the first line begins. */
function lineEnd(found: number): number {
  return found === -1 ? 0 : found + end.length
}

/** `piece`: what stands between two places, counted from where both are alike. */
function commonLength(
  a: Buffer,
  b: Buffer,
  piece: (bytes: Buffer, from: number, to: number) => Buffer,
): number {
  let alike = 0
  for (let most = Math.min(a.length, b.length); alike < most; ) {
    const middle = Math.ceil((alike + most) / 2)
    if (piece(a, alike, middle).equals(piece(b, alike, middle))) alike = middle
    else most = middle - 1
  }
  return alike
}
