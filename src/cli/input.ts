/** Bytes that a command reads: standard input or a file. */
import { createReadStream } from 'node:fs'
import { addAbortSignal, type Readable } from 'node:stream'
import { usageError } from './cli-error.ts'
import type { CliContext } from './command.ts'

/** `path`, or standard input for `-`. Reading it fails when the user asks to stop. */
export function openInput(
  path: string,
  { stdin, signal }: Pick<CliContext, 'stdin' | 'signal'>,
): Readable {
  if (path !== '-') return createReadStream(path, { signal })
  if (stdin.isTTY === true) {
    throw usageError('Cannot read an archive from a terminal', 'Name a file, or redirect')
  }
  return addAbortSignal(signal, stdin)
}
