/**
 * Decompression of a layer: bytes in, bytes out, whatever wrote them. The bytes decide, not the
 * media type (row A1); a blob without a byte is an empty layer.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import * as zlib from 'node:zlib'
import { OciError, printable } from '../../oci/errors.ts'

export type Encoding = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz'

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** Large: node's default of 16 KiB halves the speed (measured). */
const chunkSize = 256 * 1024

const magics: readonly { readonly encoding: Encoding; readonly bytes: readonly number[] }[] = [
  { encoding: 'gzip', bytes: [0x1f, 0x8b] },
  { encoding: 'zstd', bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { encoding: 'bzip2', bytes: [0x42, 0x5a, 0x68] },
  { encoding: 'xz', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
]

/** How the bytes that begin with `head` (six of them suffice) are packed. */
export function detectEncoding(head: Uint8Array): Encoding {
  // Zstandard may begin with a skippable frame, whose magic has a free digit.
  const isSkippable =
    ((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18
  if (isSkippable) return 'zstd'
  const found = magics.find(({ bytes }) => bytes.every((byte, index) => head[index] === byte))
  return found?.encoding ?? 'none'
}

/**
 * The unpacked bytes. `source` is read to its end, also behind the last packed byte, as its digest
 * covers all of them. Throws `invalid` for damaged bytes, `unsupported` when nothing here can read
 * the encoding. Ends the helper process, if there is one, when the consumer stops early.
 */
export function decompress(source: Chunks, encoding: Encoding): Chunks {
  switch (encoding) {
    case 'none':
      return source
    case 'gzip':
      return throughStream(source, zlib.createGunzip({ chunkSize }), 'gzip')
    case 'zstd':
      return throughProgram(source, { program: 'zstd', args: ['-dcq'], package: 'zstd' })
    case 'bzip2':
      return throughProgram(source, { program: 'bzip2', args: ['-dc'], package: 'bzip2' })
    default:
      return throughProgram(source, { program: 'xz', args: ['-dc'], package: 'xz-utils' })
  }
}

async function* throughStream(
  source: Chunks,
  engine: Readable & Writable,
  name: string,
): AsyncGenerator<Uint8Array> {
  const feeding = feed(source, engine).catch(error => {
    engine.destroy(error instanceof Error ? error : new Error(String(error)))
  })
  try {
    yield* engine as AsyncIterable<Uint8Array>
  } catch (cause) {
    if (!isZlibError(cause)) throw cause
    throw new OciError('invalid', `Cannot decompress: damaged ${name} data`, { cause })
  } finally {
    engine.destroy()
  }
  await feeding
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^Z_|^ZSTD_/.test(String(error.code))
}

/** Writes all of `source` to `sink`; reads on to its end when the sink wants no more. */
async function feed(source: Chunks, sink: Writable): Promise<void> {
  let isOver = false
  const over = new Promise<void>(resolve => {
    for (const event of ['end', 'close', 'error']) sink.once(event, () => resolve())
  }).then(() => {
    isOver = true
  })
  for await (const chunk of source) {
    if (isOver) continue
    // `once` would reject, and leave a listener behind, for each race that it loses.
    if (!sink.write(chunk)) {
      await Promise.race([new Promise<void>(resolve => sink.once('drain', resolve)), over])
    }
  }
  if (!isOver) sink.end()
}

interface Program {
  readonly program: string
  readonly args: readonly string[]
  /** The Debian package that has it. */
  readonly package: string
}

/** Where the system's own programs are: never a directory that an image or a user provides. */
const fixedPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

async function* throughProgram(source: Chunks, wanted: Program): AsyncGenerator<Uint8Array> {
  const { program, args } = wanted
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { PATH: fixedPath, LC_ALL: 'C' },
  })
  const exit = exitOf(child, wanted)
  exit.catch(() => {})
  let complaint = ''
  child.stderr.on('data', text => {
    complaint = `${complaint}${text}`.slice(0, 500)
  })
  // A program that ends early breaks the pipe; its exit code says why.
  child.stdin.on('error', () => {})
  const feeding = feed(source, child.stdin)
  feeding.catch(() => child.kill('SIGKILL'))
  try {
    yield* untilFailure(child.stdout, exit)
    const code = await exit
    if (code !== 0) {
      const reason = printable(complaint.trim())
      throw new OciError('invalid', `Cannot decompress: ${program} says "${reason}"`)
    }
    await feeding
  } finally {
    child.kill('SIGKILL')
  }
}

/** A program that could not start ends its output too; why it could not is what to say. */
async function* untilFailure(
  output: AsyncIterable<Uint8Array>,
  exit: Promise<unknown>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* output
  } catch (error) {
    await exit
    throw error
  }
}

function exitOf(child: ChildProcess, { program, package: name }: Program): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', cause => {
      const hint = `install it (Debian: apt-get install ${name})`
      const message = `Cannot decompress: no program "${program}"`
      reject(new OciError('unsupported', message, { cause, hint }))
    })
  })
}
