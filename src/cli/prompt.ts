/** Questions at the terminal. */
import { addAbortSignal } from 'node:stream'
import { CliError, exitCodes } from './cli-error.ts'
import type { CliContext } from './command.ts'

/**
 * The line that the user types, without its end; `hidden`: nothing is shown of it. Throws a
 * `CliError` with exit code 130 after Ctrl-C or Ctrl-D.
 */
export async function ask(
  question: string,
  echo: 'shown' | 'hidden',
  { stdin, stderr, interrupts }: Pick<CliContext, 'stdin' | 'stderr' | 'interrupts'>,
): Promise<string> {
  const terminal = stdin() as NodeJS.ReadStream
  const line = new LineEditor(text => {
    if (echo === 'shown') stderr.write(text)
  })
  stderr.write(question)
  // Raw: the terminal echoes nothing and hands on every key at once, Ctrl-C included.
  terminal.setRawMode(true)
  using _restore = interrupts.onExit(() => void terminal.setRawMode(false))
  try {
    for await (const chunk of terminal.iterator({ destroyOnReturn: false })) {
      if (line.push(String(chunk)) === 'ended') break
    }
  } finally {
    terminal.pause()
    terminal.setRawMode(false)
    stderr.write('\n')
  }
  return line.text
}

/**
 * Whether the user says yes, at the terminal or in what is piped in. Everything else is no, the end
 * of the input too, and then it is said what does without the question.
 */
export async function isConfirmed(question: string, context: CliContext): Promise<boolean> {
  const text = `${question} [y/N] `
  const { stdin, stderr } = context
  const answer =
    stdin().isTTY === true ? await ask(text, 'shown', context) : await readLine(text, context)
  if (/^y(es)?$/i.test(answer.trim())) return true
  stderr.write('Canceled: nothing was removed (--force does not ask)\n')
  return false
}

const longestLine = 1024

/** The first line of what is piped in. Throws when the user asks to stop. */
async function readLine(
  question: string,
  { stdin, stderr, signal }: Pick<CliContext, 'stdin' | 'stderr' | 'signal'>,
): Promise<string> {
  stderr.write(question)
  let text = ''
  try {
    for await (const chunk of addAbortSignal(signal, stdin())) {
      text += String(chunk)
      if (text.includes('\n') || text.length > longestLine) break
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    stderr.write('\n')
  }
  const [line = ''] = text.split('\n')
  return line
}

class LineEditor {
  readonly #show: (text: string) => void
  text = ''

  constructor(show: (text: string) => void) {
    this.#show = show
  }

  push(keys: string): 'open' | 'ended' {
    for (const key of keys) {
      if (key === '\r' || key === '\n') return 'ended'
      this.#press(key)
    }
    return 'open'
  }

  #press(key: string): void {
    if (key === '\u0003' || (key === '\u0004' && this.text === '')) {
      throw new CliError(exitCodes.interrupted, 'Canceled')
    }
    if (key !== '\u007f' && key !== '\b') {
      this.text += key
      this.#show(key)
    } else if (this.text !== '') {
      this.text = this.text.slice(0, -1)
      this.#show('\b \b')
    }
  }
}

const longestSecret = 64 * 1024

/** All of standard input without the final line feed: `--password-stdin`. */
export async function readSecret({ stdin }: Pick<CliContext, 'stdin'>): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stdin() as AsyncIterable<Uint8Array>) {
    chunks.push(chunk)
    size += chunk.length
    if (size > longestSecret) {
      throw new CliError(exitCodes.failure, 'Cannot read the password: too long')
    }
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '')
}
