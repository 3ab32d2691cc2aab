/**
 * The lines of a Dockerfile around an error, in BuildKit's form:
 *
 *     Dockerfile:3
 *     --------------------
 *        1 |     FROM busybox
 *        2 |
 *        3 | >>> RUN false
 *     --------------------
 */
import type { DockerfileError } from './error.ts'
import type { Span } from './span.ts'

const rule = '--------------------\n'

/** The excerpt for `error`, ending in a line break; empty when the error has no place. */
export function formatExcerpt(source: string, error: DockerfileError): string {
  if (error.span === undefined) return ''
  return excerptOf(source, error.file ?? 'Dockerfile', error.span)
}

/** As {@link formatExcerpt}, for any span: a lint warning's, a failed step's. */
export function excerptOf(source: string, file: string, span: Span): string {
  const lines = source.split('\n')
  if (span.startLine < 1 || span.startLine > lines.length) return ''
  const endLine = Math.min(span.endLine, lines.length)
  const [first, last] = padded(span.startLine, endLine, lines.length)
  let text = `${file}:${span.startLine}\n${rule}`
  for (let line = first; line <= last; line++) {
    const marker = line >= span.startLine && line <= endLine ? '>>>' : '   '
    text += ` ${String(line).padStart(3)} | ${marker} ${visible(lines[line - 1] ?? '')}\n`
  }
  return text + rule
}

/** One line is shown with up to four around it, several with up to two. */
function padded(startLine: number, endLine: number, count: number): [number, number] {
  const wanted = startLine === endLine ? 4 : 2
  let [first, last] = [startLine, endLine]
  for (let added = 0; added < wanted; added++) {
    if (first > 1) {
      first--
      added++
    }
    if (last < count) {
      last++
      added++
    }
  }
  return [first, last]
}

/** A terminal obeys control characters: a Dockerfile must not be able to move its cursor. */
function visible(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed
  return line.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, char =>
    char === '\r' ? '' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
