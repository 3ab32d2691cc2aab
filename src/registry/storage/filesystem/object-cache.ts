/**
 * Small objects as they were last read, kept while their file is the same: what every pull asks for
 * costs one look at the file instead of four calls to a thread.
 *
 * Our files are replaced, never written again, so a file is the same when its inode and the time of
 * its last change are. Within one tick of the kernel's clock two files may share both, so what was
 * read that close after a change is not kept. This holds whichever process made the change.
 */
import type { BigIntStats } from 'node:fs'
import { LRUCache } from 'lru-cache'
import { type FileVersion, isVersion, versionOf } from '../../../layerfs/content/file-version.ts'
import type { StoredObject } from '../object-store.ts'

interface Kept {
  readonly path: string
  readonly object: StoredObject
  readonly version: FileVersion
}

const maxBytes = 16 * 1024 * 1024

/** Manifests of many layers are smaller; what is larger is worth the calls. */
const maxObjectBytes = 64 * 1024

/** What an entry takes beside its bytes, about. */
const entryBytes = 1024

/** Longer than a tick of any kernel. */
const tickNs = 50_000_000n

interface ReadObject {
  readonly object: StoredObject
  readonly stat: BigIntStats
}

export class ObjectCache {
  readonly #kept = new LRUCache<string, Kept>({
    maxSize: maxBytes,
    sizeCalculation: ({ object }) => object.bytes.length + entryBytes,
  })

  find(key: string): StoredObject | undefined {
    const kept = this.#kept.get(key)
    if (kept === undefined) return undefined
    if (isVersion(kept.path, kept.version)) return kept.object
    this.#kept.delete(key)
    return undefined
  }

  /** `stat` is of the file at `path`, from before the object was read. */
  keep(key: string, path: string, { object, stat }: ReadObject): void {
    if (object.bytes.length > maxObjectBytes) return
    const isOld = BigInt(Date.now()) * 1_000_000n - stat.ctimeNs > tickNs
    if (isOld) this.#kept.set(key, { path, object, version: versionOf(stat) })
  }
}
