/**
 * One blob arriving in a {@link openContentStore directory store}.
 *
 *   beginIngest ──► ingest/<random>, locked ──commit──► blobs/<algorithm>/<hex>
 *                        └──dispose, or any failure──► gone
 *
 *   beginDownload ──► ingest/<algorithm>-<hex>, locked ──commit──► blobs/<algorithm>/<hex>
 *                        └──dispose, kill──► there for the next download of that digest
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { algorithmOf, type Digest, finishDigest, hexOf } from '../../oci/digest.ts'
import type { Algorithm } from '../../oci/digest-hash.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { ignoreMissing, makeDirectorySynced, syncDirectory } from './atomic-file.ts'
import { isIntact, seemsIntact } from './blob-file.ts'
import {
  assertExpected,
  type BlobInfo,
  type Download,
  type Expected,
  type Ingest,
} from './content-store.ts'
import { tryLock } from './file-lock.ts'
import { filesIn } from './own-files.ts'
import { type Received, receive } from './receive.ts'
import { openAnyHash, ThreadHash } from './thread-hash.ts'

export interface IngestRequest {
  readonly directory: string
  readonly algorithm: Algorithm
  readonly pathOf: (digest: Digest) => string
  /** So that nobody removes the blob, now or when it is there. */
  readonly hold: (digest: Digest) => Promise<unknown>
}

/** Chunks are gathered, because a write costs a trip to another thread. */
const bufferSize = 1024 * 1024

/** Sooner hashed than a thread has begun. */
const littleToHash = 32 * 1024

const exclusiveOrFail = 2 | 4

export async function beginIngest(request: IngestRequest): Promise<Ingest> {
  for (;;) {
    const path = join(request.directory, randomBytes(16).toString('hex'))
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
    if (await isOurs(file, path)) return new DirectoryIngest(request, path, file)
    await file.close()
  }
}

/** Takes the lock; a sweep or a commit may come between our opening the file and our locking it. */
async function isOurs(file: FileHandle, path: string): Promise<boolean> {
  try {
    syscalls().flock(file.fd, exclusiveOrFail)
    const [opened, named] = await Promise.all([file.stat(), stat(path).catch(ignoreMissing)])
    return named?.ino === opened.ino && named.dev === opened.dev
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return false
    await file.close()
    throw error
  }
}

/** Less is as soon received again. */
const worthKeeping = 1024 * 1024

const pauseMs = 50

/** What `ContentStore.download` promises, of a blob that was not in the store a moment ago. */
export async function beginDownload(
  request: IngestRequest,
  blob: BlobInfo,
  signal?: AbortSignal,
): Promise<Download | undefined> {
  const path = join(request.directory, partialName(blob.digest))
  for (;;) {
    signal?.throwIfAborted()
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW
    const file = await open(path, flags, 0o600)
    const isLocked = await isOurs(file, path)
    // Whoever had the lock may have completed it.
    const isThere = await seemsIntact(request.pathOf(blob.digest), blob)
    if (isLocked && !isThere) return goOn(new DirectoryIngest(request, path, file), blob)
    if (isLocked) await rm(path, { force: true })
    await file.close()
    if (isThere) return undefined
    await pause(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(() => {})
  }
}

async function goOn(ingest: DirectoryIngest, blob: BlobInfo): Promise<Download> {
  try {
    const received = await ingest.takeUp(blob.size)
    return {
      received,
      write: chunk => ingest.write(chunk),
      ...ingest.receiving,
      commit: () => ingest.commit(blob),
      discard: () => ingest[Symbol.asyncDispose](),
      [Symbol.asyncDispose]: () => ingest.leave(),
    }
  } catch (error) {
    await ingest[Symbol.asyncDispose]()
    throw error
  }
}

function partialName(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest)}`
}

/** Whether a name in ingest/ is that of a download that may go on. */
export function isPartial(name: string): boolean {
  return /^sha\d+-[0-9a-f]+$/.test(name)
}

/** After that long nobody is waiting for it any more. */
const partialAgeMs = 7 * 24 * 60 * 60 * 1000

/** Removes the ingests of processes that are gone; of their downloads the `old` ones, or `all`. */
export async function sweepIngests(
  directory: string,
  partials: 'old' | 'all' = 'old',
): Promise<void> {
  for (const name of filesIn(directory)) {
    const path = join(directory, name)
    try {
      if (partials === 'old' && isPartial(name) && (await isWorthKeeping(path))) continue
      using lock = tryLock(path, 'exclusive')
      if (lock !== undefined) await rm(path, { force: true })
    } catch (error) {
      ignoreMissing(error)
    }
  }
}

async function isWorthKeeping(path: string): Promise<boolean> {
  const { mtimeMs, size } = await stat(path)
  return size >= worthKeeping && Date.now() - mtimeMs < partialAgeMs
}

class DirectoryIngest implements Ingest {
  readonly #request: IngestRequest
  readonly #path: string
  readonly #file: FileHandle
  readonly #hash: ReturnType<typeof openAnyHash>
  /** Being filled, while the other one is being written. */
  #buffer = Buffer.allocUnsafe(bufferSize)
  #spare = Buffer.allocUnsafe(bufferSize)
  #filled = 0
  #writing: Promise<void> = Promise.resolve()
  #size = 0
  #isOpen = true

  constructor(request: IngestRequest, path: string, file: FileHandle) {
    this.#request = request
    this.#path = path
    this.#file = file
    this.#hash = openAnyHash(request.algorithm)
  }

  /** Hashes what the file holds, up to `size`: the bytes that arrived before. */
  async takeUp(size: number): Promise<number> {
    const found = (await this.#file.stat()).size
    if (found > size) await this.#file.truncate(0)
    else {
      for (;;) {
        const { bytesRead } = await this.#file.read(this.#buffer, 0, bufferSize, this.#size)
        if (bytesRead === 0) break
        this.#hash.update(this.#buffer.subarray(0, bytesRead))
        this.#size += bytesRead
      }
    }
    return this.#size
  }

  /** Ends it; what arrived stays, unless it is little or the disk refused some of it. */
  async leave(): Promise<void> {
    if (!this.#isOpen) return
    try {
      await this.#flush()
      await this.#writing
    } catch {
      this.#size = 0
    }
    if (this.#size < worthKeeping) return this[Symbol.asyncDispose]()
    this.#isOpen = false
    await this.#file.close()
  }

  /** For {@link Download}. */
  get receiving(): Pick<Download, 'receive'> {
    const hash = this.#hash
    if (!(hash instanceof ThreadHash)) return {}
    return {
      receive: async (socket, count, limits) => {
        await this.#flush()
        await this.#writing
        const into = { file: this.#file.fd, hash: hash.handle }
        return this.#took(await receive(socket, count, { ...limits, ...into }), limits.signal)
      },
    }
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#size += chunk.length
    for (let offset = 0; offset < chunk.length; ) {
      const part = chunk.subarray(offset, offset + bufferSize - this.#filled)
      this.#buffer.set(part, this.#filled)
      this.#filled += part.length
      offset += part.length
      if (this.#filled === bufferSize) await this.#flush()
    }
  }

  async commit(expected: Expected = {}): Promise<BlobInfo> {
    try {
      await this.#flush()
      await this.#writing
      const info = { digest: finishDigest(this.#hash, this.#request.algorithm), size: this.#size }
      assertExpected(info, expected)
      await this.#publish(info)
      return info
    } finally {
      await this[Symbol.asyncDispose]()
    }
  }

  async #publish(info: BlobInfo): Promise<void> {
    const target = this.#request.pathOf(info.digest)
    await this.#request.hold(info.digest)
    // A damaged one gives way to ours, which is verified.
    if (await isIntact(target, info)) return
    await makeDirectorySynced(dirname(target))
    await this.#file.chmod(0o444)
    await this.#syncFile()
    await rename(this.#path, target)
    await syncDirectory(dirname(target))
  }

  async #syncFile(): Promise<void> {
    await this.#file.sync().catch((error: unknown) => {
      throw diskError(error)
    })
  }

  /** A failure of the file shows now, and at whatever comes next. */
  async #took(told: Received, signal: AbortSignal | undefined): Promise<Received> {
    this.#size += told.received
    if (told.end === 'file failed') {
      this.#writing = Promise.reject(diskError(told.error))
      await this.#writing
    }
    signal?.throwIfAborted()
    return told
  }

  /** Starts to write what was gathered; a failure shows at the next flush or at the commit. */
  async #flush(): Promise<void> {
    await this.#writing
    const full = this.#buffer.subarray(0, this.#filled)
    const spare = this.#spare
    this.#spare = this.#buffer
    this.#buffer = spare
    this.#filled = 0
    this.#writing = this.#append(full)
    this.#writing.catch(() => {})
  }

  /** By two threads where it is worth their while: one writes, one hashes. */
  async #append(bytes: Uint8Array): Promise<void> {
    const isHashed =
      this.#hash instanceof ThreadHash && bytes.length > littleToHash
        ? this.#hash.updateByThread([bytes])
        : this.#hash.update(bytes)
    await Promise.all([isHashed, this.#write(bytes)])
  }

  /** Writes all of `bytes`: a short write is no error to the kernel. */
  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (let offset = 0; offset < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, offset)
        offset += bytesWritten
      }
    } catch (error) {
      throw diskError(error)
    }
  }

  /** After a commit the name is gone or another's blob stands: removing it again is harmless. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    await rm(this.#path, { force: true })
    await this.#writing.catch(() => {})
    await this.#file.close()
  }
}

function diskError(error: unknown): unknown {
  if (!hasCode(error, 'ENOSPC') && !hasCode(error, 'EDQUOT')) return error
  return new OciError('unavailable', 'Cannot store blob: no space left on the device', {
    cause: error,
    hint: 'free some space, or remove images and build cache that are not needed',
  })
}
