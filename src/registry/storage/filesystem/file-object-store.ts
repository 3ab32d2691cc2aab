/**
 * An ObjectStore over a folder: a key is a path below `objects/`.
 *
 * 1. An object appears and changes by `link` or `rename` of a finished file: never half-written.
 * 2. A `synced` write is on the disk, with the directories that name it, before it resolves.
 * 3. Reads do not follow symbolic links, and a key cannot leave the folder.
 * 4. Every write but a creation, which `link` decides, holds the key's lock from the comparison to
 *    the rename. The lock is among all processes of the machine that have the folder open.
 */
import { createHash, randomUUID } from 'node:crypto'
import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, lstat, open, readdir, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type FileLock, tryLock } from '../../../layerfs/content/file-lock.ts'
import { hasCode, OciError } from '../../../oci/errors.ts'
import {
  type Append,
  type Checkpoint,
  conditionFailed,
  type DeleteOptions,
  type ListPage,
  type ObjectBytes,
  type ObjectRange,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
  type Unfinished,
} from '../object-store.ts'
import { DirectoryCache } from './directory-cache.ts'
import {
  makeDirectory,
  publishNew,
  publishOver,
  removeEmptyDirectories,
  syncDirectory,
  writeNewFile,
} from './durable-files.ts'
import { appendToFile, claimFile } from './file-append.ts'
import { fileBytes } from './file-bytes.ts'
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
  const keys = new KeyLocks(locks)
  return {
    objects: new FileObjectStore(layout, keys),
    [Symbol.asyncDispose]: async () => {
      presence[Symbol.dispose]()
      keys[Symbol.dispose]()
    },
  }
}

/** Who finds nobody else removes what those left that were killed. */
async function enter(temporary: string): Promise<FileLock> {
  using alone = tryLock(temporary, 'exclusive')
  if (alone !== undefined) {
    for (const name of await readdir(temporary)) await unlink(join(temporary, name))
  }
  alone?.[Symbol.dispose]()
  for (;;) {
    const presence = tryLock(temporary, 'shared')
    if (presence !== undefined) return presence
    await pause(10)
  }
}

class FileObjectStore implements ObjectStore {
  // The kernel has an upload's last bytes in memory: they are hashed again in less time than a hash
  // that can be stored takes.
  readonly isShared = false
  readonly isReliable = false
  readonly #root: string
  readonly #temporary: string
  readonly #locks: KeyLocks
  readonly #directories = new DirectoryCache()
  readonly #recent = new ObjectCache()

  constructor(layout: { readonly objects: string; readonly temporary: string }, locks: KeyLocks) {
    this.#root = layout.objects
    this.#temporary = layout.temporary
    this.#locks = locks
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const path = this.#pathOf(key)
    const known = this.#recent.find(path)
    if (known !== undefined) return known
    const opened = await openToRead(path)
    if (opened === undefined) return undefined
    try {
      const bytes = await readWhole(opened)
      const object = { bytes, etag: etagOf(bytes) }
      this.#recent.keep(path, object, opened.stat)
      return object
    } finally {
      await opened.file.close()
    }
  }

  async size(key: string): Promise<number | undefined> {
    try {
      const stat = await lstat(this.#pathOf(key))
      return stat.isFile() ? stat.size : undefined
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  }

  async open(key: string, range?: ObjectRange): Promise<ObjectBytes> {
    const { file } = (await openToRead(this.#pathOf(key))) ?? {}
    if (file === undefined) throw new OciError('not-found', `Cannot open object "${key}": none`)
    if (range !== undefined && range.end - range.start <= smallSize) {
      return once(await readPiece(file, range))
    }
    return fileBytes(file, range ?? { start: 0 })
  }

  list(prefix: string, page: ListPage): Promise<readonly string[]> {
    this.#pathOf(prefix.slice(0, -1))
    const startAfter = page.startAfter ?? ''
    const directories = this.#directories
    return listKeys({ root: this.#root, directories, prefix, startAfter, max: page.max })
  }

  put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string> {
    const path = this.#pathOf(key)
    const publish = async () => {
      await this.#publish(path, bytes, options)
      return etagOf(bytes)
    }
    if (options.condition?.kind === 'absent') return publish()
    return this.#locks.run(key, async () => {
      if (options.condition?.kind === 'matches') await this.#mustMatch(key, options.condition.etag)
      return publish()
    })
  }

  delete(key: string, options: DeleteOptions = {}): Promise<void> {
    const path = this.#pathOf(key)
    return this.#locks.run(key, async () => {
      if (options.condition !== undefined) await this.#mustMatch(key, options.condition.etag)
      try {
        await unlink(path)
        if (options.durability !== 'cached') await syncDirectory(dirname(path))
      } catch (error) {
        if (!isAbsence(error)) throw error
      }
      await removeEmptyDirectories(dirname(path), this.#root)
    })
  }

  append(key: string, from?: Checkpoint): Promise<Append> {
    return appendToFile(this.#pathOf(key), from?.size ?? 0)
  }

  claim(key: string): Promise<Disposable | undefined> {
    return claimFile(this.#pathOf(key))
  }

  discard(key: string): Promise<void> {
    return this.delete(key)
  }

  /** None: they grow under their key, and are listed there. */
  async *unfinished(): AsyncGenerator<Unfinished> {}

  async #publish(path: string, bytes: Uint8Array, options: PutOptions): Promise<void> {
    const durability = options.durability ?? 'synced'
    const temporary = join(this.#temporary, randomUUID())
    try {
      await writeNewFile(temporary, bytes, durability)
      if (options.condition?.kind === 'absent') await publishNew(temporary, path)
      else await publishOver(temporary, path)
    } catch (error) {
      await unlinkIfThere(temporary)
      if (hasCode(error, 'EEXIST')) throw conditionFailed(path.slice(this.#root.length + 1))
      throw error
    }
    if (durability === 'synced') await syncDirectory(dirname(path))
  }

  async #mustMatch(key: string, etag: string): Promise<void> {
    const current = await this.get(key)
    if (current?.etag !== etag) throw conditionFailed(key)
  }

  /** Keys are made by our own code from parsed parts; this is the second lock on the door. */
  #pathOf(key: string): string {
    const safe = key
      .split('/')
      .every(part => part !== '' && part !== '.' && part !== '..' && !part.includes('\0'))
    if (!safe) throw new Error(`Unsafe object key: ${JSON.stringify(key)}`)
    return join(this.#root, key)
  }
}

function etagOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

interface OpenFile {
  readonly file: FileHandle
  readonly stat: BigIntStats
}

async function openToRead(path: string): Promise<OpenFile | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isAbsence(error) || hasCode(error, 'ELOOP')) return undefined
    throw error
  }
  try {
    const stat = await file.stat({ bigint: true })
    if (stat.isFile()) return { file, stat }
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}

/** In as few calls as there can be: a small object's cost is the calls. Its file never changes. */
async function readWhole({ file, stat }: OpenFile): Promise<Uint8Array> {
  const size = Number(stat.size)
  const bytes = Buffer.allocUnsafe(size)
  let filled = 0
  while (filled < size) {
    const { bytesRead } = await file.read(bytes, filled, size - filled, filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return bytes.subarray(0, filled)
}

/** `ENOTDIR`: a parent is a file, so there is no such key. `ENAMETOOLONG`: nor can there be. */
function isAbsence(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR') || hasCode(error, 'ENAMETOOLONG')
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

/** Costs a fraction of a stream. Closes the file. */
async function readPiece(file: FileHandle, { start, end }: ObjectRange): Promise<Uint8Array> {
  try {
    const bytes = Buffer.allocUnsafe(Math.max(0, end - start))
    let filled = 0
    while (filled < bytes.length) {
      const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return bytes.subarray(0, filled)
  } finally {
    await file.close()
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
