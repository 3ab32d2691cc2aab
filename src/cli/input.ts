/** Bytes that a command reads: standard input or a file. */
import { createReadStream } from 'node:fs'
import { addAbortSignal, type Readable } from 'node:stream'
import { hasCode, OciError, printable } from '../oci/errors.ts'
import { usageError } from './cli-error.ts'
import type { CliContext } from './command.ts'

type Streams = Pick<CliContext, 'stdin' | 'signal'>

/**
 * What `read` makes of `path`, or of standard input for `-`. Fails when the user asks to stop; what
 * is wrong with the bytes is told with where they came from.
 */
export async function readInput<T>(
  path: string,
  streams: Streams,
  read: (bytes: Readable) => Promise<T>,
): Promise<T> {
  const input = openInput(path, streams)
  try {
    return await read(input)
  } catch (cause) {
    if (!(cause instanceof OciError) || !hasCode(cause, 'invalid')) throw cause
    const from = path === '-' ? 'standard input' : `"${printable(path)}"`
    const hint = cause.hint ?? 'Expected a tar, plain or compressed, and whole'
    throw new OciError('invalid', `Cannot read ${from}: ${cause.message}`, { cause, hint })
  }
}

function openInput(path: string, { stdin: open, signal }: Streams): Readable {
  if (path !== '-') return createReadStream(path, { signal })
  const stdin = open()
  if (stdin.isTTY === true) {
    throw usageError('Cannot read an archive from a terminal', 'Name a file, or redirect')
  }
  return addAbortSignal(signal, stdin)
}
