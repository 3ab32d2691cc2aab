/**
 * LogLines: what a process wrote, as lines that are safe to show.
 *
 * A step's output is outside text. Left as it is, its escape sequences would move the cursor, set
 * the title, write to the clipboard or forge the lines of other steps. So: bytes that are no UTF-8
 * become U+FFFD, control characters and escape sequences vanish (colours may stay), and so do the
 * marks that reverse the direction of text. `\r` starts the line over, as a terminal shows it.
 */
import { StringDecoder } from 'node:string_decoder'

/** Longer lines are broken here: a process that never ends its line must not fill the memory. */
const longestLine = 8192

const escapeSequence =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u0090\u009d-\u009f])[^\u0007\u001b]*(?:\u0007|\u001b\\|$)|\u001b[ -/]*[0-~]?/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the one kind of sequence that may stay
const colorSequence = /^\u001b\[[0-9;:]*m$/
const invisible =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being removed
  /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009a\u009c-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

export class LogLines {
  readonly #decoder = new StringDecoder('utf8')
  #partial = ''

  /** The lines that `bytes` complete. */
  push(bytes: Uint8Array): string[] {
    const text = this.#partial + this.#decoder.write(bytes as Buffer)
    const lines = text.split('\n')
    this.#partial = overwritten(lines.pop() ?? '')
    while (this.#partial.length > longestLine) {
      lines.push(this.#partial.slice(0, longestLine))
      this.#partial = this.#partial.slice(longestLine)
    }
    return lines
  }

  /** The line that is not ended yet: a progress bar, a question. */
  get partial(): string {
    return this.#partial
  }

  /** The line that was not ended, if any: nothing more will come. */
  end(): string[] {
    const last = this.#partial + this.#decoder.end()
    this.#partial = ''
    return last === '' ? [] : [last]
  }
}

/** Without what a `\r` lets the text after it overwrite: a progress bar stays one line, and short. */
function overwritten(partial: string): string {
  return partial.slice(partial.lastIndexOf('\r', partial.length - 2) + 1)
}

/** One line of outside text, made safe; `colors: 'keep'` ends it with a reset if it has any. */
export function safeLine(line: string, colors: 'keep' | 'strip'): string {
  const visible = afterLastReturn(line)
  const plain = visible.replace(escapeSequence, sequence =>
    colors === 'keep' && colorSequence.test(sequence) ? sequence : '',
  )
  const safe = plain.replace(invisible, '').replaceAll('\t', '    ')
  // What an unfinished sequence left behind: no escape but those of kept colours.
  const kept = colors === 'keep' ? safe : safe.replaceAll('\u001b', '')
  return kept.includes('\u001b') ? `${kept}\u001b[0m` : kept
}

/** `10%\r50%\r` shows 50%: the text after the last `\r` that has some. */
function afterLastReturn(line: string): string {
  return line.split('\r').findLast(part => part !== '') ?? ''
}
