/**
 * eStargz: a layer as gzip that any reader takes, and that a lazy one can read file by file.
 *
 *   member │ member │ … │ member of the TOC │ footer (51 bytes: where the TOC begins)
 *
 * 1. The tar stays as it is, byte for byte, to behind its end; what unpacks it sees no more files.
 *    The TOC is an archive of its own behind that, so the diff ID is another than the tar's.
 * 2. A member begins where the content of a file does, and every {@link chunkSize} bytes in it.
 * 3. The TOC names every file and digests every chunk; its own digest is the layer's annotation.
 * 4. The same tar and level give the same bytes.
 *
 * Spec: stargz-snapshotter, docs/estargz.md.
 */
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { crc32, deflateRaw } from 'node:zlib'
import { type DiffId, type Digest, digestOf, finishDiffId } from '../../oci/digest.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../tar/writer.ts'
import type { Chunks } from './byte-source.ts'
import { chunkSize, TarMembers } from './estargz-members.ts'
import { gzip, gzipHeader, gzipTrailer } from './gzip.ts'

export interface EstargzSummary {
  /** Of all that the blob holds unpacked: the tar and the TOC. */
  readonly diffId: DiffId
  readonly uncompressedSize: number
  readonly tocDigest: Digest
}

/** The annotations that a lazy reader looks for in the layer's descriptor. */
export const tocDigestAnnotation = 'containerd.io/snapshot/stargz/toc.digest'
export const uncompressedSizeAnnotation = 'io.containers.estargz.uncompressed-size'

const tocName = 'stargz.index.json'

/** Members that are in memory at a time, each of some {@link chunkSize} at most. */
const concurrency = Math.min(4, 2 * availableParallelism())

/** Of zlib. */
const defaultLevel = 4

/**
 * The blob; `onEnd` is told about it before the last bytes come. Throws what reading `tar` throws,
 * and `unsupported` for a sparse file in it, whose content no TOC can describe.
 */
export async function* estargz(
  tar: Chunks,
  { level = defaultLevel }: { readonly level?: number },
  onEnd: (summary: EstargzSummary) => void,
): AsyncGenerator<Uint8Array> {
  const members = new TarMembers()
  const hash = createHash('sha256')
  const offsets: number[] = []
  let [offset, size] = [0, 0]
  const emit = async (deflating: Promise<Buffer>): Promise<Buffer> => {
    const bytes = await deflating
    offsets.push(offset)
    offset += bytes.length
    return bytes
  }
  const waiting: Promise<Buffer>[] = []
  for await (const member of members.cut(tar)) {
    hash.update(member)
    size += member.length
    const deflating = deflateMember(member, level)
    // Whoever awaits it gets the error; until then it is nobody's.
    deflating.catch(() => {})
    waiting.push(deflating)
    while (waiting.length >= concurrency) yield await emit(waiting.shift() as Promise<Buffer>)
  }
  for (const deflating of waiting) yield await emit(deflating)
  const toc = Buffer.from(JSON.stringify({ version: 1, entries: members.entries(offsets) }))
  const archive = tocArchive(toc)
  hash.update(archive)
  yield* gzip([archive], { level })
  onEnd({
    diffId: finishDiffId(hash),
    uncompressedSize: size + archive.length,
    tocDigest: digestOf(toc),
  })
  yield footer(offset)
}

async function deflateMember(bytes: Buffer, level: number): Promise<Buffer> {
  const body = await promisify(deflateRaw)(bytes, {
    level,
    chunkSize: Math.min(chunkSize, 64 * 1024),
  })
  return Buffer.concat([gzipHeader, body, gzipTrailer(crc32(bytes), bytes.length)])
}

function tocArchive(toc: Buffer): Buffer {
  const header = encodeEntry({
    type: 'file',
    path: Buffer.from(tocName),
    linkPath: Buffer.alloc(0),
    mode: 0o444,
    uid: 0,
    gid: 0,
    size: toc.length,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  })
  return Buffer.concat([header, toc, contentPadding(toc.length), endOfArchive()])
}

/** An empty gzip member whose extra field says where the TOC begins. */
function footer(tocOffset: number): Buffer {
  const place = Buffer.from(`${tocOffset.toString(16).padStart(16, '0')}STARGZ`)
  const header = Buffer.from(gzipHeader)
  header[3] = 4 // FEXTRA
  const extra = Buffer.from([place.length + 4, 0, 0x53, 0x47, place.length, 0])
  const emptyBlock = Buffer.from([1, 0, 0, 0xff, 0xff])
  return Buffer.concat([header, extra, place, emptyBlock, gzipTrailer(0, 0)])
}
