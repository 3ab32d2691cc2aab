/** Archives read back as plain values. */
import { defaultBudgets, type TarBudgets, type TarEntry } from '../../../src/layerfs/tar/entry.ts'
import { TarReader } from '../../../src/layerfs/tar/reader.ts'

export interface ReadEntry extends TarEntry {
  /** Holes filled. */
  readonly content: Buffer
}

/** Reads `tar` in chunks of `chunkSize` bytes. */
export function readTar(
  tar: Buffer,
  { chunkSize = 1 << 20, budgets = {} }: { chunkSize?: number; budgets?: Partial<TarBudgets> } = {},
): ReadEntry[] {
  const entries: ReadEntry[] = []
  const reader = new TarReader(
    {
      onEntry: entry => entries.push({ ...entry, content: Buffer.alloc(entry.size) }),
      onData: (chunk, offset) => {
        chunk.copy(entries.at(-1)?.content ?? Buffer.alloc(0), offset)
      },
      onEnd: () => {},
    },
    { ...defaultBudgets, ...budgets },
  )
  for (let at = 0; at < tar.length; at += chunkSize) reader.push(tar.subarray(at, at + chunkSize))
  reader.end()
  return entries
}

export interface RawHeader {
  readonly name?: string | Buffer
  readonly mode?: string
  readonly uid?: string | Buffer
  readonly gid?: string | Buffer
  readonly size?: string | Buffer
  readonly mtime?: string | Buffer
  readonly type?: string
  readonly link?: string
  readonly magic?: string
  readonly devMajor?: string
  readonly devMinor?: string
  readonly prefix?: string
  readonly more?: (block: Buffer) => void
}

/** A header block written byte by byte, with the right checksum unless `more` spoils it. */
export function rawHeader(raw: RawHeader): Buffer {
  const block = Buffer.alloc(512)
  const put = (value: string | Buffer | undefined, offset: number): void => {
    if (value !== undefined) Buffer.from(value as string, 'latin1').copy(block, offset)
  }
  put(raw.name, 0)
  put(raw.mode ?? '0000644\0', 100)
  put(raw.uid ?? '0000000\0', 108)
  put(raw.gid ?? '0000000\0', 116)
  put(raw.size ?? '00000000000\0', 124)
  put(raw.mtime ?? '00000000000\0', 136)
  put(raw.type ?? '0', 156)
  put(raw.link, 157)
  put(raw.magic ?? 'ustar\x0000', 257)
  put(raw.devMajor, 329)
  put(raw.devMinor, 337)
  put(raw.prefix, 345)
  raw.more?.(block)
  block.fill(' ', 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

export function body(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string, 'latin1')
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])
}

export function octal(value: number, digits = 11): string {
  return `${value.toString(8).padStart(digits, '0')}\0`
}

/** An extended header of type `type` holding `content`, and its body. */
export function extension(type: string, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string, 'latin1')
  return Buffer.concat([
    rawHeader({ name: '././@LongLink', type, size: octal(bytes.length) }),
    body(bytes),
  ])
}

export function paxRecord(keyword: string, value: string): string {
  const rest = ` ${keyword}=${value}\n`
  let length = rest.length + 1
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length
  return `${length}${rest}`
}

export const end = Buffer.alloc(1024)
