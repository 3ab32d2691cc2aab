/**
 * ImageStore: names of images, and what each names.
 *
 *   images/<sha256 of the name>.json     { "name": …, "target": descriptor }
 *
 * An image without a name is kept under its digest. A name is replaced whole, by one rename, and
 * two processes that set it leave one of both values. What a name points at is in the content
 * store; removing a name removes no bytes.
 */
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Descriptor, descriptorFrom } from '../../oci/descriptor.ts'
import { hasCode } from '../../oci/errors.ts'
import { asString, field, member, optional, parseJson } from '../../oci/json.ts'
import { formatReference, parseReference, type Reference } from '../../oci/reference.ts'
import {
  isTemporary,
  namesIn,
  sweepTemporaries,
  syncDirectory,
  writeFileAtomic,
} from '../content/atomic-file.ts'
import type { Hold } from '../content/leases.ts'
import { readOwnBytes, readOwnText } from '../content/own-files.ts'

export interface ImageRecord {
  /** Absent: an image that was built or loaded without a name. */
  readonly reference?: Reference
  /** A manifest or an index. */
  readonly target: Descriptor
}

export interface NamedTarget {
  readonly reference?: Reference | undefined
  readonly target: Descriptor
}

export interface ImageStore {
  /** What the image consists of is held: nobody removes it while this process may need it. */
  get(reference: Reference): Promise<ImageRecord | undefined>
  /** Holds the image too; whether the name still stands for it. */
  hold(record: NamedTarget): Promise<boolean>
  /** Adds or replaces. */
  set(record: ImageRecord): Promise<void>
  /** Whether there was such a name. */
  remove(record: ImageRecord | Reference): Promise<boolean>
  /** Sorted by name; those without one last. */
  list(): Promise<ImageRecord[]>
  /** Names of files that should be records and cannot be read; `list` leaves them out. */
  unreadable(): Promise<string[]>
}

/** `hold`: leases.ts. */
export function openImageStore(directory: string, hold: Hold = async () => false): ImageStore {
  const pathOf = (name: string) => {
    const hex = createHash('sha256').update(name).digest('hex')
    return join(directory, `${hex}.json`)
  }
  const holdStanding = async (record: NamedTarget) => {
    await hold({ kind: 'image', target: record.target })
    // What it named before may be gone, together with the name.
    const now = readRecord(pathOf(nameOf(record)))
    return now?.target.digest === record.target.digest
  }
  return {
    get: async reference => {
      for (;;) {
        const record = readRecord(pathOf(formatReference(reference)))
        if (record === undefined || (await holdStanding(record))) return record
      }
    },
    hold: holdStanding,
    set: async record => {
      const path = pathOf(nameOf(record))
      const text = encodeRecord(record)
      // It was synced when it was written.
      if (readOwnText(path) === text) return
      await writeFileAtomic(path, text)
    },
    remove: async record => {
      const path = pathOf('target' in record ? nameOf(record) : formatReference(record))
      if (readRecord(path) === undefined) return false
      await rm(path, { force: true })
      await syncDirectory(directory)
      return true
    },
    list: async () => {
      await sweepTemporaries(directory)
      const records = (await namesIn(directory))
        .filter(name => name.endsWith('.json'))
        .map(name => readRecord(join(directory, name)))
      const found = records.filter(record => record !== undefined)
      return found.sort((a, b) => compare(sortKey(a), sortKey(b)))
    },
    unreadable: async () => {
      const names = (await namesIn(directory)).filter(name => !isTemporary(name))
      return names.filter(name => readRecord(join(directory, name)) === undefined)
    },
  }
}

function nameOf({ reference, target }: NamedTarget): string {
  return reference === undefined ? `@${target.digest}` : formatReference(reference)
}

/** `~` sorts after every name. */
function sortKey({ reference, target }: ImageRecord): string {
  return reference === undefined ? `~${target.digest}` : formatReference(reference)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function encodeRecord({ reference, target }: ImageRecord): string {
  const name = reference === undefined ? undefined : formatReference(reference)
  return `${JSON.stringify({ ...field('name', name), target })}\n`
}

/** A record that a power failure damaged is absent: the image can be pulled or built again. */
function readRecord(path: string): ImageRecord | undefined {
  const bytes = readOwnBytes(path)
  if (bytes === undefined) return undefined
  try {
    const node = parseJson('image record', bytes)
    const name = optional(member(node, 'name'), asString)
    return {
      ...field('reference', name === undefined ? undefined : parseReference(name)),
      target: descriptorFrom(member(node, 'target')),
    }
  } catch (error) {
    if (hasCode(error, 'invalid')) return undefined
    throw error
  }
}
