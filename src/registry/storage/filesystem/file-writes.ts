/**
 * How files of the store come to be, change and go, and when the disk knows of it: with each write, or
 * of a batch's writes together when it settles.
 *
 * A file's bytes are synced before it gets its name, in a batch too: what is seen is whole, also after
 * a power failure. What a batch puts off are the names.
 */
import { randomUUID } from 'node:crypto'
import { linkSync, renameSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hasCode } from '../../../oci/errors.ts'
import type { PutOptions } from '../object-store.ts'
import type { DirectorySyncs } from './directory-syncs.ts'
import {
  createEmptyFile,
  type NoteChange,
  removeEmptyDirectories,
  withParent,
  writeNewFile,
} from './durable-files.ts'

export interface Places {
  readonly objects: string
  readonly temporary: string
}

export interface NewFile {
  readonly bytes: Uint8Array
  readonly etag: string
  /** Whether the name must be free. */
  readonly isNew: boolean
  readonly durability: NonNullable<PutOptions['durability']>
}

export class FileWrites {
  readonly #places: Places
  readonly #syncs: DirectorySyncs
  readonly #isBatch: boolean
  readonly #changed = new Set<string>()
  /**
   * Files of a batch by their etags, which are synced when the promise resolves: a second object of the
   * same bytes is a second name.
   */
  readonly #kept = new Map<string, Promise<string>>()

  constructor(places: Places, syncs: DirectorySyncs, when: 'at once' | 'together') {
    this.#places = places
    this.#syncs = syncs
    this.#isBatch = when === 'together'
  }

  /** Throws `EEXIST` when the name must be free and is not. */
  async publish(path: string, file: NewFile): Promise<void> {
    if (file.isNew && file.bytes.length === 0) {
      await withParent(path, () => createEmptyFile(path), this.noteChange)
    } else await this.#name(path, file)
    // A directory that was made on the way is noted whatever is put there: what comes next may rely on it.
    if (file.durability === 'synced') await this.noteChange(dirname(path))
  }

  /** Does nothing when there is none. */
  async remove(path: string, durability: NewFile['durability']): Promise<void> {
    const directory = dirname(path)
    unlinkSync(path)
    if (durability === 'synced') await this.noteChange(directory)
    removeEmptyDirectories(directory, this.#places.objects)
  }

  readonly noteChange: NoteChange = async directory => {
    if (this.#isBatch) this.#changed.add(directory)
    else await this.#syncs.sync(directory)
  }

  /** See `ObjectBatch`. */
  prepare(bytes: Uint8Array, etag: string): void {
    const written = this.#write({ bytes, durability: 'synced' })
    // Told to whoever puts it.
    written.catch(() => {})
    this.#kept.set(etag, written)
  }

  /** See `ObjectBatch`. */
  async settle(): Promise<void> {
    const changed = [...this.#changed]
    this.#changed.clear()
    await Promise.all(changed.map(directory => this.#syncs.sync(directory)))
  }

  /** Removes what only this batch needs. */
  async forget(): Promise<void> {
    const kept = [...this.#kept.values()]
    this.#kept.clear()
    for (const file of kept) {
      // One that was not written is not there.
      const temporary = await file.catch(() => undefined)
      if (temporary !== undefined) unlinkIfThere(temporary)
    }
  }

  /** A new name for a file that is kept; what is replaced, and what is not kept, has its file alone. */
  async #name(path: string, file: NewFile): Promise<void> {
    const { etag, isNew, durability } = file
    const kept = this.#kept.get(etag)
    const temporary = await (kept ?? this.#write(file))
    const isKept = isNew && (kept !== undefined || (this.#isBatch && durability === 'synced'))
    if (!isKept) this.#kept.delete(etag)
    else if (kept === undefined) this.#kept.set(etag, Promise.resolve(temporary))
    try {
      const give = isNew ? linkSync : renameSync
      await withParent(path, () => give(temporary, path), this.noteChange)
      if (isNew && !isKept) unlinkSync(temporary)
    } catch (error) {
      if (!isKept) unlinkIfThere(temporary)
      throw error
    }
  }

  async #write({ bytes, durability }: Pick<NewFile, 'bytes' | 'durability'>): Promise<string> {
    const temporary = join(this.#places.temporary, randomUUID())
    try {
      await writeNewFile(temporary, bytes, durability)
      return temporary
    } catch (error) {
      unlinkIfThere(temporary)
      throw error
    }
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
