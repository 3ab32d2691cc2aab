/**
 * The sorted names in large directories, kept while the directory is unchanged: a page of a hundred
 * tags among a hundred thousand costs a hundred, not a hundred thousand.
 *
 * The kernel moves a directory's change time with every name that comes or goes. Within one tick of
 * its clock two changes may have one time, so names that were read that close after a change are not
 * kept.
 */
import { readdir, stat } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'

/** A directory as a name with a `/` at its end. Symbolic links and special files are left out. */
export type SortedNames = readonly string[]

interface Kept {
  readonly changedNs: bigint
  readonly inode: bigint
  readonly names: SortedNames
}

/** Smaller ones are read as fast as they are looked up. */
const minNames = 1000

const maxNames = 2_000_000

/** Longer than a tick of any kernel. */
const tickNs = 50_000_000n

export class DirectoryCache {
  readonly #kept = new LRUCache<string, Kept>({
    maxSize: maxNames,
    sizeCalculation: ({ names }) => names.length,
  })

  /** Throws the system's error. */
  async names(path: string): Promise<SortedNames> {
    const kept = this.#kept.get(path)
    if (kept === undefined) return this.#read(path)
    const { ctimeNs, ino } = await stat(path, { bigint: true })
    if (kept.changedNs === ctimeNs && kept.inode === ino) return kept.names
    this.#kept.delete(path)
    return this.#read(path)
  }

  async #read(path: string): Promise<SortedNames> {
    const before = await stat(path, { bigint: true })
    const isOld = BigInt(Date.now()) * 1_000_000n - before.ctimeNs > tickNs
    const names: string[] = []
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isFile()) names.push(entry.name)
      else if (entry.isDirectory()) names.push(`${entry.name}/`)
    }
    names.sort()
    // What changed while it was read has another time than before: it will not be found.
    if (isOld && names.length >= minNames) {
      this.#kept.set(path, { changedNs: before.ctimeNs, inode: before.ino, names })
    }
    return names
  }
}
