/**
 * An ObjectStore over a folder: a key is a path below `objects/`.
 *
 * 1. An object appears and changes by `link` or `rename` of a finished file, an empty one by being
 *    created: never half-written.
 * 2. A `synced` write is on the disk, with the directories that name it, before it resolves.
 * 3. Reads do not follow symbolic links, and a key cannot leave the folder.
 * 4. Every write but a creation, which `link` decides, and what is claimed, holds the key's lock from
 *    the comparison to the rename. The lock is among all processes of the machine that have the folder
 *    open.
 */
import { hash } from 'node:crypto'
import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type FileLock, tryLock } from '../../../layerfs/content/file-lock.ts'
import { hasCode, OciError } from '../../../oci/errors.ts'
import {
  type Append,
  type Checkpoint,
  conditionFailed,
  type DeleteOptions,
  type ListPage,
  type ObjectBatch,
  type ObjectBytes,
  type ObjectRange,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
  type Unfinished,
} from '../object-store.ts'
import { DirectoryCache } from './directory-cache.ts'
import { DirectorySyncs } from './directory-syncs.ts'
import { makeDirectory } from './durable-files.ts'
import { appendToFile, claimFile, isCompleteFile } from './file-append.ts'
import { fileBytes } from './file-bytes.ts'
import { asReadable, FileReads, isAbsence, readPiece } from './file-reads.ts'
import { FileWrites, type Places } from './file-writes.ts'
import { KeyLocks } from './key-locks.ts'
import { listKeys } from './listing.ts'
import { ObjectCache } from './object-cache.ts'

/** Read at once: of images most blobs are smaller. */
const smallSize = 512 * 1024

export interface OpenFileObjectStore extends AsyncDisposable {
  readonly objects: ObjectStore
}

/** Opens the store in the folder `root`, which is made when missing: in any number of processes. */
export async function openFileObjectStore(root: string): Promise<OpenFileObjectStore> {
  const locks = join(root, 'locks')
  const layout = { objects: join(root, 'objects'), temporary: join(root, 'temporary') }
  await makeDirectory(layout.objects)
  await makeDirectory(layout.temporary)
  await makeDirectory(locks)
  const presence = await enter(layout.temporary)
  const syncs = new DirectorySyncs()
  const shared = {
    places: layout,
    locks: new KeyLocks(locks),
    syncs,
    directories: new DirectoryCache(),
    recent: new ObjectCache(),
    reads: new FileReads(),
  }
  return {
    objects: new FileObjectStore(shared, new FileWrites(layout, syncs, 'at once')),
    [Symbol.asyncDispose]: async () => presence[Symbol.dispose](),
  }
}

/** No write takes as long: what is older was left by a process that was killed. */
const abandonedMs = 24 * 3600_000

/** Who finds nobody else removes what those left that were killed; who finds others, what is old. */
async function enter(temporary: string): Promise<FileLock> {
  using alone = tryLock(temporary, 'exclusive')
  for (const name of await readdir(temporary)) {
    const path = join(temporary, name)
    const isAbandoned = async () => Date.now() - (await stat(path)).mtimeMs > abandonedMs
    // Its writer may remove it meanwhile.
    if (alone !== undefined || (await isAbandoned().catch(() => false))) {
      await unlink(path).catch(() => {})
    }
  }
  alone?.[Symbol.dispose]()
  for (;;) {
    const presence = tryLock(temporary, 'shared')
    if (presence !== undefined) return presence
    await pause(10)
  }
}

/** What a store and its batches have in common. */
interface Shared {
  readonly places: Places
  readonly locks: KeyLocks
  readonly syncs: DirectorySyncs
  readonly directories: DirectoryCache
  readonly recent: ObjectCache
  readonly reads: FileReads
}

class FileObjectStore implements ObjectBatch {
  // The kernel has an upload's last bytes in memory: they are hashed again in less time than a hash
  // that can be stored takes.
  readonly isShared = false
  readonly isReliable = false
  readonly showsUnfinished = true
  readonly #shared: Shared
  readonly #writes: FileWrites

  constructor(shared: Shared, writes: FileWrites) {
    this.#shared = shared
    this.#writes = writes
  }

  batch(): ObjectBatch {
    const { places, syncs } = this.#shared
    return new FileObjectStore(this.#shared, new FileWrites(places, syncs, 'together'))
  }

  prepare(bytes: Uint8Array): void {
    this.#writes.prepare(bytes, etagOf(bytes))
  }

  settle(): Promise<void> {
    return this.#writes.settle()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#writes.forget()
  }

  async get(key: string): Promise<StoredObject | undefined> {
    // What is known was read by a path that was checked.
    const known = this.#shared.recent.find(key)
    if (known !== undefined) return known
    const path = this.#pathOf(key)
    const file = await this.#shared.reads.open(path)
    if (file === undefined) return undefined
    const bytes = await readPiece(file, { start: 0, end: Number(file.stat.size) })
    const object = { bytes, etag: etagOf(bytes) }
    this.#shared.recent.keep(key, path, { object, stat: file.stat })
    return object
  }

  size(key: string): Promise<number | undefined> {
    return this.#shared.reads.size(this.#pathOf(key))
  }

  async open(key: string, range?: ObjectRange): Promise<ObjectBytes> {
    const file = await this.#shared.reads.open(this.#pathOf(key))
    if (file === undefined) throw new OciError('not-found', `Cannot open object "${key}": none`)
    if (range !== undefined && range.end - range.start <= smallSize) {
      return once(await readPiece(file, range))
    }
    return fileBytes(asReadable(file), range ?? { start: 0 })
  }

  list(prefix: string, page: ListPage): Promise<readonly string[]> {
    this.#pathOf(prefix.slice(0, -1))
    const startAfter = page.startAfter ?? ''
    const directories = this.#shared.directories
    return listKeys({
      root: this.#shared.places.objects,
      directories,
      prefix,
      startAfter,
      max: page.max,
    })
  }

  put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string> {
    const { condition, durability = 'synced' } = options
    const path = this.#pathOf(key)
    const isNew = condition?.kind === 'absent'
    const publish = async () => {
      const etag = etagOf(bytes)
      await this.#writes.publish(path, { bytes, etag, isNew, durability }).catch(error => {
        throw hasCode(error, 'EEXIST') ? conditionFailed(key) : error
      })
      this.#shared.reads.touched(path)
      return etag
    }
    if (isNew) return publish()
    return this.#shared.locks.run(key, async () => {
      if (condition !== undefined) await this.#mustMatch(key, condition.etag)
      return publish()
    })
  }

  delete(key: string, options: DeleteOptions = {}): Promise<void> {
    const { condition, durability = 'synced', isClaimed = false } = options
    const path = this.#pathOf(key)
    const remove = async () => {
      if (condition !== undefined) await this.#mustMatch(key, condition.etag)
      await this.#writes.remove(path, durability).catch(error => {
        if (!isAbsence(error)) throw error
      })
    }
    return isClaimed ? remove() : this.#shared.locks.run(key, remove)
  }

  append(key: string, from?: Checkpoint): Promise<Append> {
    const path = this.#pathOf(key)
    this.#shared.reads.touched(path)
    const sync = (directory: string) => this.#shared.syncs.sync(directory)
    return appendToFile(path, { from: from?.size ?? 0, sync })
  }

  async claim(key: string): Promise<Disposable | undefined> {
    return claimFile(this.#pathOf(key))
  }

  async discard(key: string): Promise<void> {
    if (!isCompleteFile(this.#pathOf(key))) await this.delete(key)
  }

  /** None: they grow under their key, and are listed there. */
  async *unfinished(): AsyncGenerator<Unfinished> {}

  async #mustMatch(key: string, etag: string): Promise<void> {
    const current = await this.get(key)
    if (current?.etag !== etag) throw conditionFailed(key)
  }

  /** Keys are made by our own code from parsed parts; this is the second lock on the door. */
  #pathOf(key: string): string {
    if (unsafe.test(key)) throw new Error(`Unsafe object key: ${JSON.stringify(key)}`)
    return `${this.#shared.places.objects}/${key}`
  }
}

/** A component that is empty, `.` or `..`, or a NUL. */
const unsafe = /(?:^|\/)\.{0,2}(?:\/|$)|\0/

function etagOf(bytes: Uint8Array): string {
  return hash('sha256', bytes)
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
