/**
 * Inventory: what a step read, file by file, so that a miss can name the file that changed.
 *
 * A key holds only an inventory's digest. The inventory itself is kept when a step's result is, in
 * the store's records, and read again only to explain a miss:
 *
 *   records/inventory/<digest hex>.bytes
 */
import { constants } from 'node:fs'
import type { Records } from '../../layerfs/content/records.ts'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { differingLines, type ReadLine, readLines } from './file-line.ts'
import type { Cause, Change } from './miss.ts'

/** A line for each file: see file-line.ts. */
export type Inventory = Buffer

export interface Inventories {
  /** Remembers how to make it until the build ends, by what stands for it in a key. */
  hold(digest: string, inventory: () => Inventory | Promise<Inventory>): void
  /** Those of the digests that are held outlive the build. */
  keep(digests: Iterable<string>): Promise<void>
  find(digest: string): Promise<Inventory | undefined>
}

export function openInventories(records: Records): Inventories {
  const held = new Map<string, () => Inventory | Promise<Inventory>>()
  return {
    // It is made once: who explains a miss asks for it, and who keeps the step's result again, by when
    // the files were listed a second time, and the same is held by another way to make it.
    hold: (digest, inventory) => {
      if (held.has(digest)) return
      let made: Inventory | Promise<Inventory> | undefined
      held.set(digest, () => {
        made ??= inventory()
        return made
      })
    },
    keep: async digests => {
      for (const digest of digests) {
        const inventory = await held.get(digest)?.()
        if (inventory === undefined) continue
        await records.putBytes('inventory', inventoryKey(digest), inventory)
      }
    },
    find: async digest =>
      (await held.get(digest)?.()) ?? records.getBytes('inventory', inventoryKey(digest)),
  }
}

/** The record's name, of the part of a key that stands for it: any text. */
export function inventoryKey(value: string): string {
  return hexOf(digestOf(value))
}

/** Changed files before those that came and went, each in the order of its path. */
export function compareInventories(earlier: Inventory, now: Inventory): Cause[] {
  const [before, after] = differingLines(earlier, now).map(byPath)
  const changed: Cause[] = []
  const moved: Cause[] = []
  for (const path of [...new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])])].sort()) {
    const [from, to] = [before?.get(path), after?.get(path)]
    const subject = path === '' ? '.' : path
    if (from === undefined) moved.push({ kind: 'file', subject, changes: [{ what: 'added' }] })
    else if (to === undefined) moved.push({ kind: 'file', subject, changes: [{ what: 'removed' }] })
    else {
      const changes = lineChanges(from, to)
      if (changes.length > 0) changed.push({ kind: 'file', subject, changes })
    }
  }
  return [...changed, ...moved]
}

function byPath(lines: Buffer): ReadonlyMap<string, ReadLine> {
  return new Map(readLines(lines).map(line => [line.path, line]))
}

const typeNames: ReadonlyMap<number, string> = new Map([
  [constants.S_IFREG, 'file'],
  [constants.S_IFDIR, 'directory'],
  [constants.S_IFLNK, 'link'],
])

function typeName({ type }: ReadLine): string {
  return typeNames.get(Number(type)) ?? 'special file'
}

function lineChanges(from: ReadLine, to: ReadLine): Change[] {
  if (from.type !== to.type) return [{ what: 'type', from: typeName(from), to: typeName(to) }]
  const isLink = Number(from.type) === constants.S_IFLNK
  return [
    ...(from.content === to.content ? [] : [{ what: isLink ? 'target' : 'content' }]),
    ...(from.mode === to.mode ? [] : [{ what: 'mode', from: from.mode, to: to.mode }]),
    ...(from.owner === to.owner ? [] : [{ what: 'owner', from: from.owner, to: to.owner }]),
    ...(from.attributes === to.attributes ? [] : [{ what: 'attributes' }]),
  ]
}
