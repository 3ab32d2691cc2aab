/**
 * Inventory: what a step read, file by file, so that a miss can name the file that changed.
 *
 * A key holds only an inventory's digest. The inventory itself is kept when a step's result is, in
 * the store's records, and read again only to explain a miss:
 *
 *   records/inventory/<digest hex>.json   { "src/a.ts": "f644 0:0 3q2-7wAAAA", … }
 */
import type { Records } from '../../layerfs/content/records.ts'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asStringMap } from '../../oci/json.ts'
import type { Cause, Change } from './miss.ts'

/** How each file looked, by path: see {@link lookText}. */
export type Inventory = Readonly<Record<string, string>>

export interface Inventories {
  /** Remembers how to make it until the build ends, by what stands for it in a key. */
  hold(digest: string, inventory: () => Inventory | Promise<Inventory>): void
  /** Those of the digests that are held outlive the build. */
  keep(digests: Iterable<string>): Promise<void>
  find(digest: string): Promise<Inventory | undefined>
}

export interface Look {
  /** `f` file, `d` directory, `l` link, `o` other. */
  readonly type: string
  readonly mode: number
  /** `uid:gid`, or what `--chown` says. */
  readonly owner: string
  /** Stands for the bytes of a file, the target of a link. */
  readonly content: string
  /** Stands for the extended attributes. */
  readonly attributes: string
}

/** Enough of a digest to see that it changed; a key has the whole of it. */
const keptDigits = 16

/** `f644 0:0 f00dfeed` or `d755 0:0 - cafe`; owners have no spaces. */
export function lookText({ type, mode, owner, content, attributes }: Look): string {
  const fields = [
    `${type}${mode.toString(8)}`,
    owner.replaceAll(' ', '_'),
    content.slice(0, keptDigits) || '-',
    ...(attributes === '' ? [] : [hexOf(digestOf(attributes)).slice(0, keptDigits)]),
  ]
  return fields.join(' ')
}

export function openInventories(records: Records): Inventories {
  const held = new Map<string, () => Inventory | Promise<Inventory>>()
  return {
    // It is made once: who explains a miss asks for it, and who keeps the step's result again.
    hold: (digest, inventory) => {
      let made: Inventory | Promise<Inventory> | undefined
      held.set(digest, () => {
        made ??= inventory()
        return made
      })
    },
    keep: async digests => {
      for (const digest of digests) {
        const inventory = await held.get(digest)?.()
        if (inventory !== undefined) await records.put('inventory', inventoryKey(digest), inventory)
      }
    },
    find: async digest =>
      (await held.get(digest)?.()) ?? decode(await records.get('inventory', inventoryKey(digest))),
  }
}

/** The record's name, of the part of a key that stands for it: any text. */
export function inventoryKey(value: string): string {
  return hexOf(digestOf(value))
}

function decode(value: unknown): Inventory | undefined {
  if (value === undefined) return undefined
  try {
    return asStringMap({ document: 'inventory', path: '', value })
  } catch (error) {
    if (error instanceof OciError) return undefined
    throw error
  }
}

/** Changed files before those that came and went, each in the order of its path. */
export function compareInventories(earlier: Inventory, now: Inventory): Cause[] {
  const changed: Cause[] = []
  const moved: Cause[] = []
  const differs = (path: string) => lookOf(earlier, path) !== lookOf(now, path)
  const gone = Object.keys(earlier).filter(path => !Object.hasOwn(now, path))
  for (const path of [...Object.keys(now).filter(differs), ...gone].sort()) {
    const [from, to] = [lookOf(earlier, path), lookOf(now, path)]
    const subject = path === '' ? '.' : path
    if (from === undefined) moved.push({ kind: 'file', subject, changes: [{ what: 'added' }] })
    else if (to === undefined) moved.push({ kind: 'file', subject, changes: [{ what: 'removed' }] })
    else changed.push({ kind: 'file', subject, changes: lookChanges(from, to) })
  }
  return [...changed, ...moved]
}

function lookOf(inventory: Inventory, path: string): string | undefined {
  return Object.hasOwn(inventory, path) ? inventory[path] : undefined
}

const typeNames: Readonly<Record<string, string>> = {
  f: 'file',
  d: 'directory',
  l: 'link',
  o: 'special file',
}

function lookChanges(from: string, to: string): Change[] {
  const [before = '', owner = '', content, attributes] = from.split(' ')
  const [after = '', newOwner = '', newContent, newAttributes] = to.split(' ')
  const [type, newType] = [before.slice(0, 1), after.slice(0, 1)]
  if (type !== newType) {
    return [{ what: 'type', from: typeNames[type] ?? type, to: typeNames[newType] ?? newType }]
  }
  const [mode, newMode] = [before.slice(1), after.slice(1)]
  return [
    ...(content === newContent ? [] : [{ what: type === 'l' ? 'target' : 'content' }]),
    ...(mode === newMode ? [] : [{ what: 'mode', from: mode, to: newMode }]),
    ...(owner === newOwner ? [] : [{ what: 'owner', from: owner, to: newOwner }]),
    ...(attributes === newAttributes ? [] : [{ what: 'attributes' }]),
  ]
}
