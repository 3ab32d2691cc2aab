/**
 * The ContentStore in a directory.
 *
 *   blobs/<algorithm>/<hex>    a blob, read-only; its name is its digest
 *   ingest/<random>            bytes arriving, locked by the process that writes them
 *   ingest/<algorithm>-<hex>   a download, locked while it goes on
 *
 * The invariants are those of content-store.ts. (1) holds by order: write, verify, fsync, rename,
 * fsync of the directory. (3) holds after kill -9 too: the first ingest of the next process removes
 * the files in ingest/ that nobody holds a lock on.
 */
import { fstatSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  algorithmOf,
  type Digest,
  digestOf,
  hexOf,
  isAlgorithm,
  parseDigest,
} from '../../oci/digest.ts'
import { type Algorithm, hexLengths } from '../../oci/digest-hash.ts'
import { OciError } from '../../oci/errors.ts'
import { makeDirectory } from './atomic-file.ts'
import { seemsIntact } from './blob-file.ts'
import {
  type BlobInfo,
  type ByteRange,
  type ContentStore,
  type Download,
  type Ingest,
  maxDocumentSize,
} from './content-store.ts'
import { beginDownload, beginIngest, type IngestRequest, sweepIngests } from './directory-ingest.ts'
import type { Hold } from './leases.ts'
import {
  directoriesIn,
  filesIn,
  ignoreForeign,
  ownFileFlags,
  ownFileSize,
  readOwnBytes,
} from './own-files.ts'

const readSize = 256 * 1024

/**
 * The store in `root`, whose directories are made when the first blob arrives. `hold`: what is asked
 * for or made is held, so that nobody removes it (leases.ts).
 */
export function openContentStore(root: string, hold: Hold = async () => false): ContentStore {
  return new DirectoryStore(root, hold)
}

class DirectoryStore implements ContentStore {
  readonly #root: string
  readonly #hold: (digest: Digest) => Promise<unknown>
  #swept: Promise<void> | undefined

  constructor(root: string, hold: Hold) {
    this.#root = root
    this.#hold = digest => hold({ kind: 'blob', digest })
  }

  pathOf(digest: Digest): string {
    return join(this.#root, 'blobs', algorithmOf(digest), hexOf(digest))
  }

  async find(digest: Digest): Promise<BlobInfo | undefined> {
    await this.#hold(digest)
    return this.#look(digest)
  }

  #look(digest: Digest): BlobInfo | undefined {
    const size = ownFileSize(this.pathOf(digest))
    return size === undefined ? undefined : { digest, size }
  }

  async *open(digest: Digest, range: ByteRange = { start: 0 }): AsyncGenerator<Uint8Array> {
    await this.#hold(digest)
    const file = await open(this.pathOf(digest), ownFileFlags).catch(ignoreForeign)
    if (file === undefined) throw notFound(digest)
    await using _closed = file
    if (!fstatSync(file.fd).isFile()) throw notFound(digest)
    const end = range.end ?? Number.MAX_SAFE_INTEGER
    for (let position = range.start; position < end; ) {
      const length = Math.min(readSize, end - position)
      const { bytesRead, buffer } = await file.read({
        buffer: Buffer.allocUnsafe(length),
        position,
      })
      if (bytesRead === 0) return
      position += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  }

  async read(digest: Digest, maxSize = maxDocumentSize): Promise<Uint8Array> {
    const info = await this.find(digest)
    if (info === undefined) throw notFound(digest)
    if (info.size > maxSize) {
      throw new OciError(
        'too-large',
        `Cannot read blob ${digest} at once: it has ${info.size} bytes, more than ${maxSize}`,
      )
    }
    const bytes = readOwnBytes(this.pathOf(digest))
    if (bytes === undefined) throw notFound(digest)
    assertUndamaged(bytes, digest)
    return bytes
  }

  async ingest(algorithm: Algorithm = 'sha256'): Promise<Ingest> {
    return beginIngest(await this.#request(algorithm))
  }

  async download(blob: BlobInfo, signal?: AbortSignal): Promise<Download | undefined> {
    await this.#hold(blob.digest)
    if (await seemsIntact(this.pathOf(blob.digest), blob)) return undefined
    return beginDownload(await this.#request(algorithmOf(blob.digest)), blob, signal)
  }

  async #request(algorithm: Algorithm): Promise<IngestRequest> {
    const directory = join(this.#root, 'ingest')
    makeDirectory(directory, 0o700)
    this.#swept ??= sweepIngests(directory)
    await this.#swept
    const pathOf = (digest: Digest) => this.pathOf(digest)
    return { directory, algorithm, pathOf, hold: this.#hold }
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.pathOf(digest), { force: true })
  }

  async *list(): AsyncGenerator<BlobInfo> {
    for (const algorithm of directoriesIn(join(this.#root, 'blobs'))) {
      if (!isAlgorithm(algorithm)) continue
      for (const hex of filesIn(join(this.#root, 'blobs', algorithm))) {
        if (hex.length !== hexLengths[algorithm] || !/^[0-9a-f]+$/.test(hex)) continue
        const info = this.#look(parseDigest(`${algorithm}:${hex}`))
        if (info !== undefined) yield info
      }
    }
  }
}

/** Documents are small and decide what runs: a disk that changed them is noticed here. */
function assertUndamaged(bytes: Uint8Array, digest: Digest): void {
  const found = digestOf(bytes, algorithmOf(digest))
  if (found === digest) return
  throw new OciError(
    'digest-mismatch',
    `Cannot read blob ${digest}: its file is damaged, its bytes are ${found}`,
    { hint: 'remove the image and pull or build it again' },
  )
}

function notFound(digest: Digest): OciError {
  return new OciError('not-found', `Cannot open blob ${digest}: not in the store`)
}
