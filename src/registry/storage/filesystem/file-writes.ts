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
  /** Synced files of a batch by their etags: a second object of the same bytes is a second name. */
  readonly #kept = new Map<string, string>()

  constructor(places: Places, syncs: DirectorySyncs, when: 'at once' | 'together') {
    this.#places = places
    this.#syncs = syncs
    this.#isBatch = when === 'together'
  }

  /** Throws `EEXIST` when the name must be free and is not. */
  async publish(path: string, file: NewFile): Promise<void> {
    const isEmpty = file.isNew && file.bytes.length === 0
    const kept = file.isNew ? this.#kept.get(file.etag) : undefined
    if (isEmpty) await withParent(path, () => createEmptyFile(path), this.noteChange)
    else if (kept === undefined) await this.#write(path, file)
    else await withParent(path, () => linkSync(kept, path), this.noteChange)
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
  async settle(): Promise<void> {
    const changed = [...this.#changed]
    this.#changed.clear()
    const synced = Promise.all(changed.map(directory => this.#syncs.sync(directory)))
    this.forget()
    await synced
  }

  /** Removes what only this batch needs. */
  forget(): void {
    for (const temporary of this.#kept.values()) unlinkIfThere(temporary)
    this.#kept.clear()
  }

  async #write(path: string, file: NewFile): Promise<void> {
    const temporary = join(this.#places.temporary, randomUUID())
    try {
      await writeNewFile(temporary, file.bytes, file.durability)
      await withParent(
        path,
        () => (file.isNew ? linkSync : renameSync)(temporary, path),
        this.noteChange,
      )
    } catch (error) {
      unlinkIfThere(temporary)
      throw error
    }
    if (!file.isNew) return
    if (this.#isBatch && file.durability === 'synced') this.#kept.set(file.etag, temporary)
    else unlinkSync(temporary)
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
