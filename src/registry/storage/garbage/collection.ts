/** One run of the collector: what it was told, what it has done, and the one way it removes things. */
import type { Digest } from '../../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../../oci/reference.ts'
import { condemn, removeUnlessNeeded, removeVersion, rescue } from '../condemn.ts'
import type { StoredObject } from '../object-store.ts'
import type { RegistryStorage } from '../registry-storage.ts'
import type { RetentionRules } from './retention-rules.ts'

export type GarbageKind =
  | 'blob'
  | 'bytes'
  | 'link'
  | 'manifest'
  | 'repository'
  | 'tag'
  | 'upload'
  | 'hint'
  | 'history'

export interface GarbageEvent {
  readonly kind: GarbageKind
  /** `condemn`: it will be removed after the time of grace, unless somebody comes to need it. */
  readonly action: 'condemn' | 'remove' | 'rescue'
  readonly repository?: RepositoryName
  readonly digest?: Digest
  readonly tag?: Tag
  /** Bytes that are free now. */
  readonly size?: number
}

export interface CollectOptions {
  /**
   * How long something may be unreferenced before it is condemned, and how long it stays condemned
   * before it is removed. Longer than any client takes from asking for a blob to pushing the
   * manifest that names it.
   */
  readonly graceMs: number
  /** After which an upload that nobody goes on with is removed. */
  readonly uploadExpiryMs: number
  /** Removes manifests that no tag, index or subject leads to, after the time of grace. */
  readonly deleteUntagged?: boolean
  readonly retention?: RetentionRules
  /** For how long manifests that a tag pointed at stay, so that it can be set back. */
  readonly historyMs?: number
  /**
   * How long what was pulled from an upstream into the repository may be unused, before it goes as
   * what nobody needs does; default: for good.
   */
  readonly unusedCopiesMs?: ((repository: RepositoryName) => number | undefined) | undefined
  /** Tells what would be done, and does nothing. */
  readonly dryRun?: boolean
  /** Told of each step, in a dry run of each that would be made. */
  readonly onEvent?: (event: GarbageEvent) => void
  readonly signal?: AbortSignal
}

export interface Collection extends CollectOptions {
  readonly storage: RegistryStorage
  /** When the run began: what is younger than the grace at that time is left alone. */
  readonly startedAt: number
}

/** An object as it was when the run first looked, before it looked for what needs it. */
export interface Seen {
  readonly key: string
  readonly etag: string
  readonly condemnedAt: number | undefined
  /** Milliseconds since 1970; 0 when it is not known. */
  readonly since: number
}

type Subject = Omit<GarbageEvent, 'action'>

type Verdict = Subject & {
  readonly isNeeded: boolean
  /** After which it is condemned, when not after the grace. */
  readonly afterMs?: number | undefined
}

/** Condemns what nobody needs, removes it after the grace, rescues it when somebody does. */
export async function judge(
  run: Collection,
  seen: Seen,
  { isNeeded, afterMs, ...subject }: Verdict,
): Promise<'kept' | 'removed'> {
  const { storage, startedAt, graceMs } = run
  const tell = (action: GarbageEvent['action']) => run.onEvent?.({ ...subject, action })
  run.signal?.throwIfAborted()
  if (isNeeded) {
    if (seen.condemnedAt === undefined) return 'kept'
    if (run.dryRun !== true) await rescue(storage, seen.key)
    tell('rescue')
    return 'kept'
  }
  if (seen.condemnedAt === undefined) {
    if (startedAt - seen.since < (afterMs ?? graceMs)) return 'kept'
    if (run.dryRun === true || (await condemnSeen(storage, seen))) tell('condemn')
    return 'kept'
  }
  if (startedAt - seen.condemnedAt < graceMs) return 'kept'
  if (run.dryRun !== true && !(await removeVersion(storage, seen.key, seen.etag))) return 'kept'
  tell('remove')
  return 'removed'
}

interface Sweep {
  readonly key: string
  readonly isNeeded: (seen: StoredObject) => Promise<boolean>
}

/** For what needs no time of grace; see {@link removeUnlessNeeded}. */
export async function sweepUnlessNeeded(
  run: Collection,
  { key, isNeeded }: Sweep,
  subject: Subject,
): Promise<boolean> {
  const { storage } = run
  run.signal?.throwIfAborted()
  const wouldRemove = async () => {
    const seen = await storage.objects.get(key)
    return seen !== undefined && !(await isNeeded(seen))
  }
  const isRemoved =
    run.dryRun === true ? await wouldRemove() : await removeUnlessNeeded(storage, key, isNeeded)
  if (isRemoved) run.onEvent?.({ ...subject, action: 'remove' })
  return isRemoved
}

async function condemnSeen(storage: RegistryStorage, seen: Seen): Promise<boolean> {
  const object = await storage.objects.get(seen.key)
  if (object === undefined || object.etag !== seen.etag) return false
  return (await condemn(storage, seen.key, object)) !== undefined
}
