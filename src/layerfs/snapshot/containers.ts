/**
 * Containers' directories: a writable layer that outlives the process that made it.
 *
 *   containers/<id>/fs, work       the writable layer, mounted over the image's
 *                  /parent         the chain ID of the snapshot it builds on
 *                  /record.json    what the runtime keeps about it
 *
 * 1. A container appears whole, with its record, or not at all.
 * 2. It is running exactly while somebody holds its lock, which is on the directory itself and can
 *    be handed to a child as a descriptor; however the holder dies, the container has stopped.
 * 3. A running container is not removed, and the snapshot it builds on neither.
 */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type ChainId, parseChainId } from '../../oci/digest.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { makeDirectory, writeFileAtomic } from '../content/atomic-file.ts'
import { type FileLock, type LockMode, tryLock } from '../content/file-lock.ts'
import { directoriesIn, readOwnText } from '../content/own-files.ts'
import { recordChanges } from '../layer/record-changes.ts'
import type { RootMount } from '../mount.ts'
import type { OverlaySnapshotter } from './overlay.ts'
import type { Trash } from './trash.ts'

export interface ContainerDirectory {
  /** 64 hex digits. */
  readonly id: string
  readonly path: string
  readonly upper: string
}

export interface ContainerEntry extends ContainerDirectory {
  /** As parsed from record.json, to be decoded by the runtime; `undefined` when it is damaged. */
  readonly record: unknown
  readonly isRunning: boolean
}

/** A container whose lock we hold. Disposing it releases the lock and keeps the directory. */
export interface HeldContainer extends ContainerDirectory, Disposable {
  /** Hand it to the process that keeps the container running. */
  readonly lockFd: number
  readonly mount: RootMount
  setRecord(record: object): Promise<void>
}

export interface Containers {
  create(parent: ChainId | undefined, record: object): Promise<HeldContainer>
  /** Throws `not-found`; `conflict` when it is running. */
  hold(id: string): Promise<HeldContainer>
  /** Throws `not-found`. */
  get(id: string): Promise<ContainerEntry>
  list(): Promise<ContainerEntry[]>
  /** Its writable layer and those below, **top first**, running or not. Throws `not-found`. */
  layers(id: string): Promise<{ readonly upper: string; readonly lower: readonly string[] }>
  /** Of one that may run. Throws `not-found`. */
  setRecord(id: string, record: object): Promise<void>
  /** Throws `not-found`; `conflict` when it is running. */
  remove(id: string): Promise<void>
}

export interface ContainersPlace {
  readonly root: string
  readonly snapshots: OverlaySnapshotter
  readonly trash: Trash
}

export function openContainers(place: ContainersPlace): Containers {
  return new DirectoryContainers(place)
}

/** Who only looks holds a shared lock for microseconds: that is no running container. */
const holdAttempts = 10
const holdPauseMs = 5

class DirectoryContainers implements Containers {
  readonly #snapshots: OverlaySnapshotter
  readonly #trash: Trash
  readonly #directory: string

  constructor({ root, snapshots, trash }: ContainersPlace) {
    this.#snapshots = snapshots
    this.#trash = trash
    this.#directory = join(root, 'containers')
  }

  async create(parent: ChainId | undefined, record: object): Promise<HeldContainer> {
    makeDirectory(this.#directory, 0o700)
    await using active = await this.#snapshots.prepare(parent)
    await writeFileAtomic(join(active.upper, '..', 'record.json'), JSON.stringify(record))
    const place = this.#placeOf(active.key)
    const lock = await active.moveTo(place.path)
    return await this.#held(place, lock)
  }

  async hold(id: string): Promise<HeldContainer> {
    const place = this.#placeOf(id)
    for (let attempt = 0; attempt < holdAttempts; attempt++) {
      const lock = this.#tryLock(place, 'exclusive')
      if (lock !== undefined) return await this.#held(place, lock)
      await pause(holdPauseMs)
    }
    throw new OciError('conflict', `Cannot lock container ${id}: it is running`)
  }

  async #held(place: ContainerDirectory, lock: FileLock): Promise<HeldContainer> {
    try {
      return {
        ...place,
        lockFd: lock.fd,
        mount: await this.#mountOf(place),
        setRecord: record => writeRecord(place.path, record),
        [Symbol.dispose]: () => lock[Symbol.dispose](),
      }
    } catch (error) {
      lock[Symbol.dispose]()
      throw error
    }
  }

  async #mountOf({ path, upper }: ContainerDirectory): Promise<RootMount> {
    return { kind: 'overlay', lower: await this.#below(path), upper, work: join(path, 'work') }
  }

  async #below(path: string): Promise<readonly string[]> {
    const parent = readOwnText(join(path, 'parent'))
    return parent === undefined ? [] : this.#snapshots.layers(parseChainId(parent))
  }

  async layers(id: string): Promise<{ upper: string; lower: readonly string[] }> {
    const { path, upper } = await this.get(id)
    const lower = await this.#below(path)
    recordChanges({ upper, lower })
    return { upper, lower }
  }

  async get(id: string): Promise<ContainerEntry> {
    const place = this.#placeOf(id)
    const text = readOwnText(join(place.path, 'record.json'))
    if (text === undefined) throw notFound(id)
    return { ...place, record: parseOrAbsent(text), isRunning: this.#isRunning(place) }
  }

  #isRunning(place: ContainerDirectory): boolean {
    using lock = this.#tryLock(place, 'shared')
    return lock === undefined
  }

  #tryLock(place: ContainerDirectory, mode: LockMode): FileLock | undefined {
    try {
      return tryLock(place.path, mode)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) throw notFound(place.id)
      throw error
    }
  }

  async list(): Promise<ContainerEntry[]> {
    const entries = directoriesIn(this.#directory).map(id =>
      this.get(id).catch((error: unknown) => {
        // Removed since the directory was read.
        if (!hasCode(error, 'not-found')) throw error
      }),
    )
    return (await Promise.all(entries)).filter(entry => entry !== undefined)
  }

  async setRecord(id: string, record: object): Promise<void> {
    const { path } = await this.get(id)
    await writeRecord(path, record)
  }

  async remove(id: string): Promise<void> {
    using held = await this.hold(id)
    await this.#trash.discard(held.path)
  }

  #placeOf(id: string): ContainerDirectory {
    if (!/^[0-9a-f]{64}$/.test(id)) throw notFound(id)
    const path = join(this.#directory, id)
    return { id, path, upper: join(path, 'fs') }
  }
}

/** Not synced, as the container's files are not: waiting for the disk takes 20 ms (measured). */
function writeRecord(directory: string, record: object): Promise<void> {
  const path = join(directory, 'record.json')
  return writeFileAtomic(path, JSON.stringify(record), { durability: 'unsynced' })
}

function parseOrAbsent(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function notFound(id: string): OciError {
  return new OciError('not-found', `Cannot find container "${printable(id)}"`)
}
