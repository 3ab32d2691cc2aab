/**
 * The Snapshotter for overlayfs: one directory per layer, stacked by the kernel when mounted.
 *
 *   snapshots/<chain hex>/fs          a committed layer, in overlayfs's own format
 *                        /meta.json   its name, parent and diff ID
 *                        /synced      it has reached the disk: see durability.ts
 *                        /bytes       what it takes on the disk, once somebody asked
 *                        /fs.tree     where overlayfs cannot be had: see copied-tree.ts
 *                        /layer.tar   of a layer that was made as one: see packed-layer.ts
 *   active/<key>/fs, work             a layer being written, locked by its owner
 *              /parent                what it builds on
 *   containers/, mounts/              layers that outlive their process: see containers.ts
 *   trash/                            what was removed: see trash.ts
 *
 * The invariants are those of snapshotter.ts. (2) holds because a commit is the rename of a
 * complete directory to a name that must not exist. (1) holds because who builds on a snapshot
 * holds it (leases.ts) until that is written down, and a removal refuses what another builds on.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ChainId, hexOf, parseChainId } from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { makeDirectory, namesIn, writeFileAtomic } from '../content/atomic-file.ts'
import { DiskMeter } from '../content/disk-use.ts'
import type { FileLock } from '../content/file-lock.ts'
import type { Hold } from '../content/leases.ts'
import { directoriesIn, readOwnText } from '../content/own-files.ts'
import { emptyDiff } from '../layer/diff.ts'
import { recordChanges } from '../layer/record-changes.ts'
import { hasSameRoot, inheritRoot } from '../layer/settle-layer.ts'
import type { RootMount } from '../mount.ts'
import { discardUnsynced, syncInBackground } from './durability.ts'
import { type OwnedDirectory, openOwned, sweepOwned } from './owned-directory.ts'
import { findTarIn, keptIn, type PackedPlace, tarIn, unpackKept } from './packed-layer.ts'
import { assertConsistent, findSnapshotRecord, writeSnapshotRecord } from './snapshot-record.ts'
import type {
  ActiveSnapshot,
  PackedLayer,
  SnapshotInfo,
  Snapshotter,
  StagedLayer,
  UncommittedLayer,
} from './snapshotter.ts'
import { openTrash, type Trash } from './trash.ts'

export interface OverlayActive extends ActiveSnapshot {
  /** Moves the layer, with what it builds on, to where it outlives us; still locked. */
  moveTo(path: string): Promise<FileLock>
}

export interface OverlaySnapshotter extends Snapshotter {
  prepare(parent: ChainId | undefined): Promise<OverlayActive>
  /**
   * Removes all that is neither in `keep` nor below something that is kept, active or a container.
   * For who collects (leases.ts), and keeps what is held. Killed half-way it has removed less.
   */
  prune(keep: Iterable<ChainId>): Promise<SnapshotInfo[]>
  /** What the layer takes on the disk; of all it is the files that are looked at once, ever. */
  bytesOf(name: ChainId): Promise<number>
  /** What active layers, containers and mounted images build on. */
  parentsInUse(): Promise<ChainId[]>
  /** Discards what dead processes left active and what a power failure may have damaged. */
  sweep(): Promise<void>
  /** Lets what was committed reach the disk; does not wait. To be called when work is done. */
  settle(): void
}

export interface SnapshotterOptions {
  readonly trash?: Trash
  /** What is asked for or committed is held, so that nobody removes it (leases.ts). */
  readonly hold?: Hold
}

export function openSnapshotter(
  root: string,
  { trash = openTrash(join(root, 'trash')), hold = async () => false }: SnapshotterOptions = {},
): OverlaySnapshotter {
  return new DirectorySnapshotter(root, { trash, hold })
}

class DirectorySnapshotter implements OverlaySnapshotter {
  readonly #root: string
  readonly #trash: Trash
  readonly #active: string
  readonly #committed: string
  readonly #hold: (name: ChainId) => Promise<boolean>
  /** Directories committed since the last {@link settle}. */
  readonly #unsettled = new Set<string>()
  readonly #stacks = new Map<ChainId, Stack>()
  /** What was found; it is still true of what has been held since (1). */
  readonly #found = new Map<ChainId, SnapshotInfo>()
  readonly #place: Omit<PackedPlace, 'directory' | 'lower'>

  constructor(root: string, { trash, hold }: Required<SnapshotterOptions>) {
    this.#root = root
    this.#trash = trash
    this.#hold = name => hold({ kind: 'snapshot', name })
    this.#active = join(root, 'active')
    this.#committed = join(root, 'snapshots')
    this.#place = { active: this.#active, locks: join(root, 'locks'), trash }
  }

  async find(name: ChainId): Promise<SnapshotInfo | undefined> {
    const known = (await this.#hold(name)) ? this.#found.get(name) : undefined
    if (known !== undefined) return known
    const info = findSnapshotRecord(this.#directoryOf(name))
    if (info === undefined) this.#found.delete(name)
    else this.#found.set(name, info)
    return info
  }

  async prepare(parent: ChainId | undefined): Promise<OverlayActive> {
    const lower = parent === undefined ? [] : (await this.#stackOf(parent)).shown
    const owned = await openOwned(this.#active, this.#trash)
    return this.#disposingOnFailure(owned, async () => {
      const upper = await makeUpper(owned.path, lower[0])
      const work = join(owned.path, 'work')
      mkdirSync(work, { mode: 0o700 })
      // It outlives our lease: an active layer can become a container's.
      if (parent !== undefined) writeFileSync(join(owned.path, 'parent'), parent)
      const mount: RootMount = { kind: 'overlay', lower, upper, work }
      const record = () => recordChanges({ upper, lower })
      return { ...owned, upper, lower, mount, record, ...(parent === undefined ? {} : { parent }) }
    })
  }

  async stage(): Promise<StagedLayer> {
    const owned = await openOwned(this.#active, this.#trash)
    return this.#disposingOnFailure(owned, async () => ({
      ...owned,
      upper: await makeUpper(owned.path, undefined),
    }))
  }

  async stagePacked(): Promise<PackedLayer> {
    const owned = await openOwned(this.#active, this.#trash)
    return { ...owned, tar: tarIn(owned.path) }
  }

  async #disposingOnFailure<T>(owned: OwnedDirectory, make: () => Promise<T>): Promise<T> {
    try {
      return await make()
    } catch (error) {
      await owned[Symbol.asyncDispose]()
      throw error
    }
  }

  async commit(active: UncommittedLayer, info: SnapshotInfo): Promise<void> {
    assertConsistent(info)
    await this.#hold(info.name)
    if (info.parent !== undefined && (await this.find(info.parent)) === undefined) {
      throw notFound(info.parent)
    }
    await this.#publish(join(this.#active, active.key), info)
    // Ends the ownership; the directory is no longer where the disposal would look for it, unless
    // another process was first.
    await active[Symbol.asyncDispose]()
  }

  async #publish(directory: string, info: SnapshotInfo): Promise<void> {
    const target = this.#directoryOf(info.name)
    for (const name of ['work', 'parent', 'fs.since']) {
      rmSync(join(directory, name), { recursive: true, force: true })
    }
    await writeSnapshotRecord(directory, info)
    makeDirectory(this.#committed, 0o700)
    if (await this.#claim(directory, target)) return
    if (findSnapshotRecord(target) !== undefined) return
    // What stands there is damaged and no snapshot.
    await this.#trash.discard(target)
    await this.#claim(directory, target)
  }

  /** Gives the layer its final name, unless something has it. */
  async #claim(directory: string, target: string): Promise<boolean> {
    try {
      renameSync(directory, target)
    } catch (error) {
      if (hasCode(error, 'ENOTEMPTY') || hasCode(error, 'EEXIST')) return false
      throw error
    }
    this.#unsettled.add(target)
    return true
  }

  async view(name: ChainId): Promise<RootMount> {
    const { shown: lower } = await this.#stackOf(name)
    const [only] = lower
    // Without a writable layer, overlayfs takes no fewer than two.
    if (only !== undefined && lower.length === 1) {
      return { kind: 'directory', path: only, readOnly: true }
    }
    return { kind: 'overlay', lower }
  }

  async layers(name: ChainId): Promise<readonly string[]> {
    return (await this.#stackOf(name)).layers
  }

  async kept(name: ChainId): Promise<readonly string[]> {
    const places: string[] = []
    for (let next: ChainId | undefined = name; next !== undefined; ) {
      await this.#hold(next)
      const directory = this.#directoryOf(next)
      const info = findSnapshotRecord(directory)
      if (info === undefined) throw notFound(next)
      places.push(keptIn(directory))
      next = info.parent
    }
    return places
  }

  async packedTar(name: ChainId): Promise<string | undefined> {
    if ((await this.find(name)) === undefined) throw notFound(name)
    return findTarIn(this.#directoryOf(name))
  }

  async #stackOf(name: ChainId): Promise<Stack> {
    // All that it builds on is held with it.
    const info = await this.find(name)
    if (info === undefined) throw notFound(name)
    const { parent, diffId } = info
    // Below a snapshot that is there everything is (1): it need not be read again for every step.
    const { layers, shown } =
      parent === undefined ? nothing : (this.#stacks.get(parent) ?? (await this.#stackOf(parent)))
    const directory = this.#directoryOf(name)
    await unpackKept(info, { ...this.#place, directory, lower: layers })
    const own = join(directory, 'fs')
    const [below] = shown
    const isShown = diffId !== emptyDiff.diffId || below === undefined || !hasSameRoot(own, below)
    const stack = { layers: [own, ...layers], shown: isShown ? [own, ...shown] : shown }
    this.#stacks.set(name, stack)
    return stack
  }

  async remove(name: ChainId): Promise<void> {
    const user = await this.#userOf(name)
    this.#found.delete(name)
    if (user === undefined) return this.#trash.discard(this.#directoryOf(name))
    throw new OciError('conflict', `Cannot remove snapshot ${name}: ${user} builds on it`)
  }

  async prune(keep: Iterable<ChainId>): Promise<SnapshotInfo[]> {
    const all = new Map<ChainId, SnapshotInfo>()
    for await (const info of this.list()) all.set(info.name, info)
    // A set visits what is added during the walk, so this reaches every ancestor.
    const kept = new Set([...keep, ...(await this.parentsInUse())])
    for (const name of kept) {
      const parent = all.get(name)?.parent
      if (parent !== undefined) kept.add(parent)
    }
    const removed = [...all.values()].filter(({ name }) => !kept.has(name))
    // A kill half-way must leave no snapshot without what it builds on.
    for (const { name } of topmostFirst(removed)) {
      this.#found.delete(name)
      await this.#trash.discard(this.#directoryOf(name))
    }
    await this.#discardRecordless(kept)
    return removed
  }

  async bytesOf(name: ChainId): Promise<number> {
    const directory = this.#directoryOf(name)
    const path = join(directory, 'bytes')
    const known = Number.parseInt(readOwnText(path) ?? '', 10)
    if (known >= 0) return known
    const { bytes } = new DiskMeter().measure(directory)
    await writeFileAtomic(path, `${bytes}\n`, { durability: 'unsynced' }).catch(() => {})
    return bytes
  }

  /** What has no record is no snapshot: a commit writes it before the directory has its name. */
  async #discardRecordless(kept: ReadonlySet<ChainId>): Promise<void> {
    const committing = new Set([...kept].map(hexOf))
    for (const name of await namesIn(this.#committed)) {
      const path = join(this.#committed, name)
      // Who holds the name may be putting a whole one in its place just now.
      if (committing.has(name) || findSnapshotRecord(path) !== undefined) continue
      await this.#trash.discard(path)
    }
  }

  async parentsInUse(): Promise<ChainId[]> {
    const users = [this.#active, join(this.#root, 'containers'), join(this.#root, 'mounts')]
    return (await Promise.all(users.map(parentsIn))).flat()
  }

  /** What builds on `name`, in words. */
  async #userOf(name: ChainId): Promise<string | undefined> {
    for await (const other of this.list()) {
      if (other.parent === name) return `snapshot ${other.name}`
    }
    const users = {
      'a running build': this.#active,
      'a container': join(this.#root, 'containers'),
      'a mounted image': join(this.#root, 'mounts'),
    }
    for (const [user, directory] of Object.entries(users)) {
      if ((await parentsIn(directory)).includes(name)) return user
    }
    return undefined
  }

  async *list(): AsyncGenerator<SnapshotInfo> {
    for (const name of directoriesIn(this.#committed)) {
      const info = findSnapshotRecord(join(this.#committed, name))
      if (info !== undefined) yield info
    }
  }

  async sweep(): Promise<void> {
    await sweepOwned(this.#active, this.#trash)
    await discardUnsynced({
      stampFile: join(this.#root, 'boot'),
      lockFile: join(this.#root, 'locks', 'boot'),
      snapshots: this.#committed,
      trash: this.#trash,
    })
  }

  settle(): void {
    syncInBackground(this.#root, [...this.#unsettled])
    this.#unsettled.clear()
  }

  #directoryOf(name: ChainId): string {
    return join(this.#committed, hexOf(name))
  }
}

/** Directories of layers, top first. */
interface Stack {
  readonly layers: readonly string[]
  /** Without those that have nothing: mounted, they would only be looked through. */
  readonly shown: readonly string[]
}

const nothing: Stack = { layers: [], shown: [] }

/** Each before those that it builds on. */
function topmostFirst(infos: readonly SnapshotInfo[]): SnapshotInfo[] {
  const byName = new Map(infos.map(info => [info.name, info]))
  const ordered = new Set<SnapshotInfo>()
  for (const info of infos) {
    const below: SnapshotInfo[] = []
    for (let next: SnapshotInfo | undefined = info; next !== undefined; ) {
      if (ordered.has(next)) break
      below.push(next)
      next = next.parent === undefined ? undefined : byName.get(next.parent)
    }
    for (const each of below.reverse()) ordered.add(each)
  }
  return [...ordered].reverse()
}

function notFound(name: ChainId): OciError {
  return new OciError('not-found', `Cannot open snapshot ${name}: not in the store`)
}

/** What the layers in `directory` build on. */
async function parentsIn(directory: string): Promise<ChainId[]> {
  const parents: ChainId[] = []
  for (const key of await namesIn(directory)) {
    const parent = readOwnText(join(directory, key, 'parent'))
    if (parent !== undefined && parent !== '') parents.push(parseChainId(parent))
  }
  return parents
}

/**
 * The layer's directory, its root like the one below: overlayfs takes the owner, mode, time and
 * attributes of `/` from the topmost layer.
 */
async function makeUpper(directory: string, below: string | undefined): Promise<string> {
  const upper = join(directory, 'fs')
  mkdirSync(upper)
  inheritRoot({ target: upper, lower: below === undefined ? [] : [below] })
  return upper
}
