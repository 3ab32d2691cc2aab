/**
 * Store: everything that tsbuild and tsrun keep on a machine, in one directory.
 *
 *   <root>/                     0700: a layer's files keep their owners and setuid bits, and must
 *   │                           not be reachable by the machine's users (CVE-2021-41091)
 *   ├── version                 of this layout
 *   ├── blobs/, ingest/         content/directory-store.ts
 *   ├── images/                 image/image-store.ts
 *   ├── layers/                 image/layer-blobs.ts: which blob is a layer's
 *   ├── snapshots/, active/     snapshot/overlay.ts
 *   ├── boot                    snapshot/durability.ts
 *   ├── containers/             snapshot/containers.ts
 *   ├── volumes/                runtime/volumes.ts
 *   ├── mounts/                 snapshot/image-mounts.ts
 *   ├── records/                content/records.ts: the build cache
 *   ├── builds/                 builder/history: the latest builds, with the output of their steps
 *   ├── cache-mounts/           of the builder: what RUN --mount=type=cache keeps
 *   ├── stubs/                  empty files and directories to mount over
 *   ├── tmp/<key>/              temporary directories, locked by their owners
 *   ├── locks/                  content/file-lock.ts
 *   ├── leases/                 content/leases.ts
 *   └── trash/                  snapshot/trash.ts
 *
 * Any number of processes share a store, and any of them may be killed at any moment. What it
 * leaves is unlocked, and the next {@link openStore} discards it. What nothing refers to is removed
 * while others go on; what they found or made is theirs until they end (content/leases.ts).
 */
import { chmodSync, realpathSync, rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { OciError, printable } from '../oci/errors.ts'
import { systemReason } from '../oci/system-error.ts'
import { ignoreMissing, makeDirectory, writeFileAtomic } from './content/atomic-file.ts'
import type { ContentStore } from './content/content-store.ts'
import { sweepIngests } from './content/directory-ingest.ts'
import { openContentStore } from './content/directory-store.ts'
import { tryLock } from './content/file-lock.ts'
import { type Held, type Leases, openLeases } from './content/leases.ts'
import { filesIn, readOwnText } from './content/own-files.ts'
import { openRecords, type Records } from './content/records.ts'
import { type ImageStore, openImageStore } from './image/image-store.ts'
import { type LayerBlobs, openLayerBlobs } from './image/layer-blobs.ts'
import { diffLayer } from './layer/diff.ts'
import { chooseDriver } from './snapshot/choose-driver.ts'
import { type Containers, openContainers } from './snapshot/containers.ts'
import { type ImageMounts, openImageMounts } from './snapshot/image-mounts.ts'
import { type OverlaySnapshotter, openSnapshotter } from './snapshot/overlay.ts'
import { type OwnedDirectory, openOwned, sweepOwned } from './snapshot/owned-directory.ts'
import { openTrash, type Trash } from './snapshot/trash.ts'

/** Disposing it ends what is going on in the background; the store itself stays. */
export interface Store extends AsyncDisposable {
  /** Absolute, without symbolic links. */
  readonly root: string
  readonly content: ContentStore
  /** The same blobs, held by nobody who looks at them: for who looks at all, and for who collects. */
  readonly unheld: ContentStore
  readonly images: ImageStore
  readonly layers: LayerBlobs
  readonly snapshots: OverlaySnapshotter
  readonly containers: Containers
  readonly mounts: ImageMounts
  readonly records: Records
  readonly trash: Trash
  /** Directory for lock files of any name; it is emptied of those that nobody holds. */
  readonly locks: string
  /** Directory for empty files and directories that are mounted over. */
  readonly stubs: string
  /**
   * To be called by who is done with what it found until now, or only uses what a container or an
   * active snapshot is built on: a clean-up may then take the rest. See {@link Leases.letGo}.
   */
  letGo(): void
  /** See {@link Leases.collect}. */
  collect<T>(remove: (held: Held) => Promise<T>): Promise<T>
  /** A directory of this process, gone when it is disposed or the process dies. */
  tempDir(): Promise<OwnedDirectory>
}

const layoutVersion = '1'

/**
 * What was discarded waits for a quiet moment, and no command spends long on it: see trash.ts. Not
 * when the disk is almost full.
 */
const trashLimits = { minAgeMs: 10 * 60 * 1000, budgetMs: 50 }

/** Those used every day stay; those named after one layer or step go. */
const lockAgeMs = 24 * 60 * 60 * 1000

/**
 * Opens the store in `directory`, making it when there is none. Throws `unsupported` when another
 * version of the program made it, `denied` when it belongs to another user or may not be made, and
 * `unavailable` when it cannot be.
 */
export async function openStore(directory: string): Promise<Store> {
  const root = await claimRoot(directory)
  await assertVersion(root)
  chooseDriver(root)
  const leases = openLeases(root)
  const store = compose(root, leases)
  await leases.sweep()
  await sweep(store)
  return store
}

async function claimRoot(directory: string): Promise<string> {
  const root = await makeRoot(directory)
  const info = statSync(root)
  if (process.geteuid !== undefined && info.uid !== process.geteuid()) {
    throw new OciError(
      'denied',
      `Cannot open store "${printable(root)}": it belongs to user ${info.uid}, not ${process.geteuid()}`,
    )
  }
  // An existing directory may be wider than the one we would have made.
  if ((info.mode & 0o077) !== 0) chmodSync(root, 0o700)
  return root
}

async function makeRoot(directory: string): Promise<string> {
  try {
    makeDirectory(directory, 0o700)
    return realpathSync.native(directory)
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause)) throw cause
    const denied = ['EACCES', 'EPERM', 'EROFS'].includes(String(cause.code))
    const place = printable(directory)
    throw new OciError(
      denied ? 'denied' : 'unavailable',
      `Cannot open store "${place}": ${systemReason(cause)}`,
      { cause, hint: 'use another directory (TSBUILD_ROOT)' },
    )
  }
}

async function assertVersion(root: string): Promise<void> {
  const path = join(root, 'version')
  const found = readOwnText(path)?.trim()
  if (found === layoutVersion) return
  if (found === undefined || found === '') return writeFileAtomic(path, `${layoutVersion}\n`)
  throw new OciError(
    'unsupported',
    `Cannot open store "${printable(root)}": expected layout version ${layoutVersion}, found "${printable(found)}"`,
    { hint: 'use another directory (TSBUILD_ROOT), or the program that made this one' },
  )
}

function compose(root: string, leases: Leases): Store {
  const locks = join(root, 'locks')
  const trash = openTrash(join(root, 'trash'))
  const { hold, letGo, collect } = leases
  const content = openContentStore(root, hold)
  const snapshots = openSnapshotter(root, { trash, hold })
  return {
    root,
    content,
    unheld: openContentStore(root),
    images: openImageStore(join(root, 'images'), hold),
    layers: openLayerBlobs({
      directory: join(root, 'layers'),
      locks,
      content,
      snapshots,
      diff: diffLayer,
      hold,
    }),
    snapshots,
    containers: openContainers({ root, snapshots, trash }),
    mounts: openImageMounts({ root, snapshots, trash }),
    records: openRecords(join(root, 'records')),
    trash,
    locks,
    stubs: join(root, 'stubs'),
    letGo,
    collect,
    tempDir: () => openOwned(join(root, 'tmp'), trash),
    [Symbol.asyncDispose]: async () => {
      snapshots.settle()
      letGo()
      await trash.empty(isAlmostFull(root) ? {} : trashLimits)
    },
  }
}

/** A few directory listings when all is well; what is found is moved, not deleted. */
async function sweep({ root, snapshots, trash, locks, stubs }: Store): Promise<void> {
  makeDirectory(stubs, 0o700)
  await sweepIngests(join(root, 'ingest'))
  await sweepOwned(join(root, 'tmp'), trash)
  await sweepLocks(locks)
  await snapshots.sweep()
  if (isAlmostFull(root)) await trash.empty()
}

/** Then what was discarded cannot wait: it may be what fills the disk. */
function isAlmostFull(root: string): boolean {
  const { blocks, bavail, files, ffree } = statfsSync(root)
  return bavail < blocks / 20 || ffree < files / 20
}

/** Lock files are made by who waits: removing one is safe for who holds it (file-lock.ts, 2). */
async function sweepLocks(directory: string): Promise<void> {
  for (const name of filesIn(directory)) {
    const path = join(directory, name)
    try {
      if (Date.now() - statSync(path).mtimeMs < lockAgeMs) continue
      using lock = tryLock(path, 'exclusive')
      if (lock !== undefined) rmSync(path, { force: true })
    } catch (error) {
      ignoreMissing(error)
    }
  }
}
