/**
 * The log of a detached container: what its program wrote, in records as native/sandbox/log.c
 * writes them, which are those of Kubernetes' runtimes.
 *
 *   2026-11-20T16:54:47.123456789Z stdout F text      a line
 *   2026-11-20T16:54:47.123456789Z stdout P text      a part of one; the next of its stream goes on
 */
import { type FileHandle, open } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'

export interface LogRecord {
  /** ISO 8601 with nanoseconds. */
  readonly time: string
  readonly stream: 'stdout' | 'stderr'
  /** With its end of line, where it has one: any bytes. */
  readonly text: Buffer
  /** Whether the line before it in its stream has ended. */
  readonly startsLine: boolean
}

export interface FollowOptions {
  /** Asked when there is no more: whether more may come. */
  readonly mayGrow: () => Promise<boolean>
  readonly signal: AbortSignal
}

const chunkSize = 256 * 1024
const pauseMs = 50

/** All records of the file, in order; with `follow` also those to come. Throws ENOENT. */
export async function* readLog(path: string, follow?: FollowOptions): AsyncGenerator<LogRecord> {
  await using file = await open(path, 'r')
  let position = beginning(file.fd)
  const reader = new LogReader(position > 0 ? 'torn' : 'whole')
  for (;;) {
    // Before reading: what is written until then is read once more.
    const mayGrow = (await follow?.mayGrow()) ?? false
    const chunk = await readChunk(file, position)
    position += chunk.length
    yield* reader.push(chunk)
    if (chunk.length > 0) continue
    if (!mayGrow) return
    // Aborted: there is nobody any more who would read it.
    await pause(pauseMs, undefined, { signal: follow?.signal as AbortSignal }).catch(() => {})
    if (follow?.signal.aborted === true) return
  }
}

const seekData = 3

/** Where what is still kept begins: what is older is a hole. */
function beginning(fd: number): number {
  try {
    return syscalls().lseek(fd, 0, seekData)
  } catch (error) {
    if (hasCode(error, 'ENXIO') || hasCode(error, 'EINVAL')) return 0
    throw error
  }
}

async function readChunk(file: FileHandle, position: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkSize), 0, chunkSize, position)
  return buffer.subarray(0, bytesRead)
}

const newline = 0x0a

/** Splits bytes into records; what is no record, of a torn end, is left out. */
export class LogReader {
  #rest: Buffer = Buffer.alloc(0)
  readonly #isInLine = { stdout: false, stderr: false }
  #isTorn: boolean

  /** `torn`: what comes first is the end of a record that has no beginning any more. */
  constructor(first: 'torn' | 'whole' = 'whole') {
    this.#isTorn = first === 'torn'
  }

  push(chunk: Uint8Array): LogRecord[] {
    const bytes = Buffer.concat([this.#rest, chunk])
    const records: LogRecord[] = []
    let at = 0
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, at)) {
      const record = this.#isTorn ? undefined : this.#decode(bytes.subarray(at, end + 1))
      this.#isTorn = false
      if (record !== undefined) records.push(record)
      at = end + 1
    }
    this.#rest = bytes.subarray(at)
    return records
  }

  #decode(line: Buffer): LogRecord | undefined {
    const head = /^(\S{20,35}) (stdout|stderr) ([FP]) /.exec(line.toString('latin1', 0, 48))
    if (head === null) return undefined
    const [{ length }, time = '', name, kind] = head
    const stream = name === 'stderr' ? 'stderr' : 'stdout'
    const startsLine = !this.#isInLine[stream]
    this.#isInLine[stream] = kind === 'P'
    const text = line.subarray(length, kind === 'P' ? -1 : undefined)
    return { time, stream, text, startsLine }
  }
}
