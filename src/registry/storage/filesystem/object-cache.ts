/**
 * Small objects as they were last read, kept while their file is the same: what every pull asks for
 * costs one look at the file instead of four calls to a thread.
 *
 * Our files are replaced, never written again, so a file is the same when its inode and the time of
 * its last change are. Within one tick of the kernel's clock two files may share both, so what was
 * read that close after a change is not kept. This holds whichever process made the change.
 */
import { type BigIntStats, lstatSync } from 'node:fs'
import { LRUCache } from 'lru-cache'
import type { StoredObject } from '../object-store.ts'

interface Kept {
  readonly object: StoredObject
  readonly inode: bigint
  readonly changedNs: bigint
}

const maxBytes = 16 * 1024 * 1024

/** Manifests of many layers are smaller; what is larger is worth the calls. */
const maxObjectBytes = 64 * 1024

/** What an entry takes beside its bytes, about. */
const entryBytes = 1024

/** Longer than a tick of any kernel. */
const tickNs = 50_000_000n

export class ObjectCache {
  readonly #kept = new LRUCache<string, Kept>({
    maxSize: maxBytes,
    sizeCalculation: ({ object }) => object.bytes.length + entryBytes,
  })

  /** Synchronous: the kernel has what was looked at lately in memory, and a thread costs more. */
  find(path: string): StoredObject | undefined {
    const kept = this.#kept.get(path)
    if (kept === undefined) return undefined
    const stat = lookAt(path)
    if (stat?.ctimeNs === kept.changedNs && stat.ino === kept.inode) return kept.object
    this.#kept.delete(path)
    return undefined
  }

  /** `stat` is of the file, from before the object was read. */
  keep(path: string, object: StoredObject, stat: BigIntStats): void {
    if (object.bytes.length > maxObjectBytes) return
    const isOld = BigInt(Date.now()) * 1_000_000n - stat.ctimeNs > tickNs
    if (!isOld) return
    this.#kept.set(path, { object, inode: stat.ino, changedNs: stat.ctimeNs })
  }
}

/** `undefined` also when it cannot be looked at: reading it says why. */
function lookAt(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false })
  } catch {
    return undefined
  }
}
