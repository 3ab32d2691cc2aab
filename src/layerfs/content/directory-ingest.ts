/**
 * One blob arriving in a {@link openContentStore directory store}.
 *
 *   beginIngest ──► ingest/<random>, locked ──commit──► blobs/<algorithm>/<hex>
 *                        └──dispose, or any failure──► gone
 */
import { createHash, type Hash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Algorithm, type Digest, finishDigest } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { syscalls } from '../native/syscalls.ts'
import { ignoreMissing, namesIn, syncDirectory } from './atomic-file.ts'
import { assertExpected, type BlobInfo, type Expected, type Ingest } from './content-store.ts'
import { tryLock } from './file-lock.ts'

export interface IngestRequest {
  readonly directory: string
  readonly algorithm: Algorithm
  readonly pathOf: (digest: Digest) => string
}

/** Small chunks are gathered: a write costs a trip to another thread. */
const bufferSize = 256 * 1024

const exclusiveOrFail = 2 | 4

export async function beginIngest(request: IngestRequest): Promise<Ingest> {
  for (;;) {
    const path = join(request.directory, randomBytes(16).toString('hex'))
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
    if (await isOurs(file)) return new DirectoryIngest(request, path, file)
    await file.close()
  }
}

/** Takes the lock; a sweep may come between our making the file and our locking it. */
async function isOurs(file: FileHandle): Promise<boolean> {
  try {
    syscalls().flock(file.fd, exclusiveOrFail)
    return (await file.stat()).nlink > 0
  } catch (error) {
    if (hasCode(error, 'EAGAIN')) return false
    await file.close()
    throw error
  }
}

/** Removes the ingests of processes that are gone. */
export async function sweepIngests(directory: string): Promise<void> {
  for (const name of await namesIn(directory)) {
    const path = join(directory, name)
    try {
      using lock = tryLock(path, 'exclusive')
      if (lock !== undefined) await rm(path, { force: true })
    } catch (error) {
      ignoreMissing(error)
    }
  }
}

class DirectoryIngest implements Ingest {
  readonly #request: IngestRequest
  readonly #path: string
  readonly #file: FileHandle
  readonly #hash: Hash
  readonly #pending = Buffer.allocUnsafe(bufferSize)
  #pendingSize = 0
  #size = 0
  #isOpen = true

  constructor(request: IngestRequest, path: string, file: FileHandle) {
    this.#request = request
    this.#path = path
    this.#file = file
    this.#hash = createHash(request.algorithm)
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk)
    this.#size += chunk.length
    if (this.#pendingSize + chunk.length > bufferSize) await this.#flush()
    if (chunk.length >= bufferSize) return this.#append(chunk)
    this.#pending.set(chunk, this.#pendingSize)
    this.#pendingSize += chunk.length
  }

  async commit(expected: Expected = {}): Promise<BlobInfo> {
    try {
      await this.#flush()
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
    const existing = await stat(target).catch(ignoreMissing)
    // A file of another size is damaged; ours, which is verified, takes its place.
    if (existing?.size === info.size) return
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
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

  async #flush(): Promise<void> {
    const size = this.#pendingSize
    this.#pendingSize = 0
    if (size > 0) await this.#append(this.#pending.subarray(0, size))
  }

  /** Writes all of `bytes`: a short write is no error to the kernel. */
  async #append(bytes: Uint8Array): Promise<void> {
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
