/**
 * Where the bytes of a store are: every file of it is counted once, under one kind.
 *
 *   images        blobs and layers that images consist of
 *   containers    writable layers, and layers that only containers and mounted images need
 *   volumes       what containers keep in directories that outlive them
 *   cache         records of steps, and layers that only they need
 *   unused        blobs and layers that nothing refers to: what a prune takes
 *   downloads     begun, to be gone on with
 *   working       of processes that run now
 *   trash         removed, not deleted yet
 *   bookkeeping   names, locks, records
 *   stray         what no version of this program puts there
 */
import { type Dirent, readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  algorithmOf,
  type ChainId,
  type DiffId,
  type Digest,
  hexOf,
  isAlgorithm,
} from '../../oci/digest.ts'
import { hexLengths } from '../../oci/digest-hash.ts'
import { isTemporary, namesIn } from '../content/atomic-file.ts'
import { isPartial } from '../content/directory-ingest.ts'
import { DiskMeter } from '../content/disk-use.ts'
import { ignoreForeign } from '../content/own-files.ts'
import type { SnapshotInfo } from '../snapshot/snapshotter.ts'
import type { Store } from '../store.ts'
import { referredTo, targetsOf } from './prune.ts'

export const useKinds = [
  'images',
  'containers',
  'volumes',
  'cache',
  'unused',
  'downloads',
  'working',
  'trash',
  'bookkeeping',
  'stray',
] as const

export type UseKind = (typeof useKinds)[number]

export interface KindUse {
  /** Files and directories on the disk. */
  readonly files: number
  readonly bytes: number
}

export interface StoreUse {
  readonly kinds: Readonly<Record<UseKind, KindUse>>
  /** Paths below the store's root. */
  readonly strays: readonly string[]
}

/** `cached`: filesystems that the build cache keeps. Other processes may go on meanwhile. */
export async function measureStore(store: Store, cached: Iterable<ChainId>): Promise<StoreUse> {
  const kinds = await kindsOf(store, cached)
  const sums = new Sums(store.root)
  sums.addDirectory('bookkeeping', '')
  for (const name of await namesIn(store.root)) measureEntry(name, kinds, sums)
  return { kinds: sums.kinds, strays: sums.strays }
}

class Sums {
  readonly #root: string
  readonly #meter = new DiskMeter()
  readonly strays: string[] = []
  readonly kinds: Record<UseKind, { files: number; bytes: number }>

  constructor(root: string) {
    this.#root = root
    this.kinds = Object.fromEntries(
      useKinds.map(kind => [kind, { files: 0, bytes: 0 }]),
    ) as Sums['kinds']
  }

  add(kind: UseKind, path: string): void {
    if (kind === 'stray') this.strays.push(path)
    this.#count(kind, this.#meter.measure(join(this.#root, path)))
  }

  /** The directory alone; what is in it is counted by itself. */
  addDirectory(kind: UseKind, path: string): void {
    this.#count(kind, this.#meter.measureOne(join(this.#root, path)))
  }

  list(path: string): Dirent[] {
    try {
      const entries = readdirSync(join(this.#root, path), { withFileTypes: true })
      return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    } catch (error) {
      return ignoreForeign(error) ?? []
    }
  }

  #count(kind: UseKind, use: KindUse): void {
    this.kinds[kind].bytes += use.bytes
    this.kinds[kind].files += use.files
  }
}

interface Kinds {
  readonly blobs: ReadonlyMap<Digest, UseKind>
  /** By the names of their directories. */
  readonly snapshots: ReadonlyMap<string, UseKind>
}

/** By the first of its users, in the order of `useKinds`. */
async function kindsOf(store: Store, cached: Iterable<ChainId>): Promise<Kinds> {
  const all = new Map<ChainId, SnapshotInfo>()
  for await (const info of store.snapshots.list()) all.set(info.name, info)
  const used = await referredTo(await targetsOf(store), store.unheld)
  const users: readonly (readonly [UseKind, Iterable<ChainId>])[] = [
    ['images', used.chains],
    ['containers', await store.snapshots.parentsInUse()],
    ['cache', cached],
    ['unused', all.keys()],
  ]
  const snapshots = new Map<ChainId, UseKind>()
  for (const [kind, chains] of users) {
    for (const name of new Set(chains)) claim(name, kind, { all, snapshots })
  }
  const blobs = new Map<Digest, UseKind>([...used.blobs].map(digest => [digest, 'images']))
  for (const [name, kind] of snapshots) {
    const diffId = all.get(name)?.diffId
    for (const digest of await blobsOf(store, diffId)) {
      if (!blobs.has(digest)) blobs.set(digest, kind)
    }
  }
  const byDirectory = [...snapshots].map(([name, kind]) => [hexOf(name), kind] as const)
  return { blobs, snapshots: new Map(byDirectory) }
}

interface Claims {
  readonly all: ReadonlyMap<ChainId, SnapshotInfo>
  readonly snapshots: Map<ChainId, UseKind>
}

/** A snapshot and those below it, up to one that is claimed: all below that are too. */
function claim(name: ChainId, kind: UseKind, { all, snapshots }: Claims): void {
  for (let next: ChainId | undefined = name; next !== undefined; ) {
    const info: SnapshotInfo | undefined = all.get(next)
    if (info === undefined || snapshots.has(next)) return
    snapshots.set(next, kind)
    next = info.parent
  }
}

async function blobsOf({ layers }: Store, diffId: DiffId | undefined): Promise<Digest[]> {
  return diffId === undefined ? [] : (await layers.blobsOf(diffId)).map(({ digest }) => digest)
}

const wholeKinds: Readonly<Record<string, UseKind>> = {
  version: 'bookkeeping',
  boot: 'bookkeeping',
  leases: 'bookkeeping',
  builds: 'bookkeeping',
  images: 'bookkeeping',
  layers: 'bookkeeping',
  locks: 'bookkeeping',
  stubs: 'bookkeeping',
  // The file system's own, where the store has one to itself.
  'lost+found': 'bookkeeping',
  active: 'working',
  tmp: 'working',
  trash: 'trash',
  records: 'cache',
  'cache-mounts': 'cache',
  containers: 'containers',
  mounts: 'containers',
  volumes: 'volumes',
}

type EntryType = 'file' | 'directory'

/**
 * What is in those folders, and what in that: anything else is nobody's. Of images/, the check tells
 * which of its files cannot be read.
 */
const entryTypes: Readonly<Record<string, readonly EntryType[]>> = {
  leases: ['file'],
  layers: ['file'],
  locks: ['file'],
  builds: ['directory', 'file'],
  records: ['directory', 'file'],
  active: ['directory'],
  tmp: ['directory'],
  'cache-mounts': ['directory'],
  containers: ['directory'],
  mounts: ['directory'],
  volumes: ['directory'],
}

function measureEntry(name: string, kinds: Kinds, sums: Sums): void {
  const whole = wholeKinds[name]
  const part = partKinds[name]
  if (whole !== undefined) measureWhole(name, { kind: whole, types: entryTypes[name] }, sums)
  else if (name === 'blobs') measureBlobs(kinds, sums)
  else if (part !== undefined) measureParts(name, { ...part, kinds }, sums)
  else sums.add(isTemporary(name) ? 'bookkeeping' : 'stray', name)
}

interface Whole {
  readonly kind: UseKind
  readonly types: readonly EntryType[] | undefined
}

function measureWhole(path: string, { kind, types = [] }: Whole, sums: Sums): void {
  const [type, ...below] = types
  if (type === undefined) {
    sums.add(kind, path)
    return
  }
  sums.addDirectory(kind, path)
  for (const entry of sums.list(path)) {
    const inside = join(path, entry.name)
    if (isA(entry, type)) measureWhole(inside, { kind, types: below }, sums)
    else sums.add('stray', inside)
  }
}

function isA(entry: Dirent, type: EntryType): boolean {
  return type === 'file' ? entry.isFile() : entry.isDirectory()
}

interface Part {
  readonly type: EntryType
  readonly kindOf: (name: string, kinds: Kinds) => UseKind
}

const partKinds: Readonly<Record<string, Part>> = {
  snapshots: {
    type: 'directory',
    kindOf: (name, { snapshots }) => snapshots.get(name) ?? 'stray',
  },
  ingest: { type: 'file', kindOf: name => (isPartial(name) ? 'downloads' : 'working') },
}

function measureParts(path: string, part: Part & { kinds: Kinds }, sums: Sums): void {
  const { type, kindOf, kinds } = part
  sums.addDirectory('bookkeeping', path)
  for (const entry of sums.list(path)) {
    sums.add(isA(entry, type) ? kindOf(entry.name, kinds) : 'stray', join(path, entry.name))
  }
}

function measureBlobs({ blobs }: Kinds, sums: Sums): void {
  const byPath = new Map([...blobs].map(([digest, kind]) => [blobPathOf(digest), kind]))
  sums.addDirectory('bookkeeping', 'blobs')
  for (const folder of sums.list('blobs')) {
    const algorithm = folder.name
    const directory = join('blobs', algorithm)
    if (!isAlgorithm(algorithm) || !folder.isDirectory()) {
      sums.add('stray', directory)
      continue
    }
    sums.addDirectory('bookkeeping', directory)
    for (const entry of sums.list(directory)) {
      const path = join(directory, entry.name)
      const isHex = entry.name.length === hexLengths[algorithm] && /^[0-9a-f]+$/.test(entry.name)
      sums.add(isHex && entry.isFile() ? (byPath.get(path) ?? 'unused') : 'stray', path)
    }
  }
}

function blobPathOf(digest: Digest): string {
  return join('blobs', algorithmOf(digest), hexOf(digest))
}
