/**
 * Where a tar is cut into gzip members, and what an eStargz TOC says about it.
 *
 *   headers ║ content of a │ padding │ headers ║ content of b … ║ … b │ padding │ headers, end
 *           ╙ a member begins                  ╙                ╙ every chunkSize bytes
 */
import { createHash, type Hash } from 'node:crypto'
import { type Digest, finishDigest } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { EntryType, TarEntry } from '../tar/entry.ts'
import { TarReader, type TarVisitor } from '../tar/reader.ts'
import type { Chunks } from './byte-source.ts'

/** Of a file's content, in one member. */
export const chunkSize = 4 * 1024 * 1024

/** As the TOC has it, but for where the content is. */
interface Described {
  readonly fields: Record<string, unknown>
  /** The number of the member that holds the content. */
  readonly member: number | undefined
}

export class TarMembers implements TarVisitor {
  readonly #described: Described[] = []
  readonly #reader = new TarReader(this)
  /** Bytes of the chunk that is being read, at which members begin. */
  #cuts: number[] = []
  /** The member that begins next. */
  #nextMember = 1
  #chunk: Buffer = Buffer.alloc(0)
  #file: OpenFile | undefined

  /** All bytes of `tar`, cut into members. */
  async *cut(tar: Chunks): AsyncGenerator<Buffer> {
    let parts: Buffer[] = []
    let length = 0
    for await (const { buffer, byteOffset, byteLength } of tar) {
      this.#chunk = Buffer.from(buffer, byteOffset, byteLength)
      this.#cuts = []
      this.#reader.push(this.#chunk)
      let from = 0
      for (const at of this.#cuts) {
        yield Buffer.concat([...parts, this.#chunk.subarray(from, at)])
        parts = []
        length = 0
        from = at
      }
      parts.push(Buffer.from(this.#chunk.subarray(from)))
      length += this.#chunk.length - from
      // Many entries without content: what is in memory stays bounded.
      if (length < 2 * chunkSize) continue
      yield Buffer.concat(parts)
      parts = []
      length = 0
      this.#nextMember += 1
    }
    this.#reader.end()
    yield Buffer.concat(parts)
  }

  /** The entries of the TOC; `offsets`: where each member begins in the blob. */
  entries(offsets: readonly number[]): unknown[] {
    return this.#described.map(({ fields, member }) =>
      member === undefined ? fields : { ...fields, offset: offsets[member] },
    )
  }

  onEntry(entry: TarEntry): void {
    const fields = describe(entry)
    if (entry.type === 'file' && entry.size > 0) this.#file = new OpenFile(entry, fields)
    else this.#described.push({ fields, member: undefined })
  }

  onData(data: Buffer, offset: number): void {
    const file = this.#file
    if (file === undefined) throw new Error('Content without a file')
    if (offset !== file.length) throw sparse(file.entry)
    const start = data.byteOffset - this.#chunk.byteOffset
    for (let at = 0; at < data.length; ) {
      if (file.length % chunkSize === 0) this.#startMember(start + at, file)
      const part = data.subarray(at, at + chunkSize - (file.length % chunkSize))
      file.update(part)
      at += part.length
    }
  }

  #startMember(at: number, file: OpenFile): void {
    this.#cuts.push(at)
    const fields = file.startChunk()
    this.#described.push({ fields, member: this.#nextMember })
    this.#nextMember += 1
  }

  onEnd(): void {
    const file = this.#file
    this.#file = undefined
    if (file === undefined) return
    if (file.length !== file.entry.size) throw sparse(file.entry)
    file.end()
  }
}

/** A file whose content is going by. */
class OpenFile {
  readonly entry: TarEntry
  length = 0
  readonly #fields: Record<string, unknown>
  readonly #whole = createHash('sha256')
  #chunk: { readonly hash: Hash; readonly fields: Record<string, unknown> } | undefined

  constructor(entry: TarEntry, fields: Record<string, unknown>) {
    this.entry = entry
    this.#fields = fields
  }

  /** The fields of the chunk that begins: those of the file, when it is the first. */
  startChunk(): Record<string, unknown> {
    this.#endChunk()
    const isFirst = this.length === 0
    const left = this.entry.size - this.length
    const fields: Record<string, unknown> = isFirst
      ? this.#fields
      : { name: this.#fields['name'], type: 'chunk', chunkOffset: this.length }
    // None: it goes to the end of the file.
    if (left >= chunkSize) fields['chunkSize'] = chunkSize
    this.#chunk = { hash: createHash('sha256'), fields }
    return fields
  }

  update(bytes: Buffer): void {
    this.#whole.update(bytes)
    this.#chunk?.hash.update(bytes)
    this.length += bytes.length
  }

  end(): void {
    this.#endChunk()
    this.#fields['digest'] = digest(this.#whole)
  }

  #endChunk(): void {
    if (this.#chunk === undefined) return
    this.#chunk.fields['chunkDigest'] = digest(this.#chunk.hash)
  }
}

function digest(hash: Hash): Digest {
  return finishDigest(hash, 'sha256')
}

const types: Readonly<Record<EntryType, string>> = {
  file: 'reg',
  hardlink: 'hardlink',
  symlink: 'symlink',
  directory: 'dir',
  'character-device': 'char',
  'block-device': 'block',
  fifo: 'fifo',
}

function describe(entry: TarEntry): Record<string, unknown> {
  const { type, linkPath, devMajor, devMinor, xattrs } = entry
  const isDevice = type === 'character-device' || type === 'block-device'
  return {
    name: entry.path.toString(),
    type: types[type],
    ...(type === 'file' ? { size: entry.size } : {}),
    ...timeOf(entry),
    ...(linkPath.length > 0 ? { linkName: linkPath.toString() } : {}),
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    ...(isDevice ? { devMajor, devMinor } : {}),
    ...(xattrs.length > 0 ? { xattrs: Object.fromEntries(xattrs.map(textual)) } : {}),
  }
}

function textual({ name, value }: TarEntry['xattrs'][number]): [string, string] {
  return [name.toString(), value.toString('base64')]
}

/** RFC 3339 has four digits for a year; other times are left out. */
function timeOf({ mtime: { seconds } }: TarEntry): { modtime?: string } {
  const time = new Date(seconds * 1000)
  const year = time.getUTCFullYear()
  if (!(year >= 0 && year <= 9999)) return {}
  return { modtime: time.toISOString().replace('.000Z', 'Z') }
}

function sparse({ path }: TarEntry): OciError {
  const name = printable(path.toString())
  return new OciError('unsupported', `Cannot make an eStargz layer of "${name}": a sparse file`, {
    hint: 'use compression=gzip or zstd',
  })
}
