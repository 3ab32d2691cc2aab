/** The builds that a store remembers: the latest ones, with the whole output of their steps. */
import { createReadStream, statSync } from 'node:fs'
import { join } from 'node:path'
import { ignoreMissing } from '../../layerfs/content/atomic-file.ts'
import { tryLock } from '../../layerfs/content/file-lock.ts'
import {
  directoriesIn,
  filesIn,
  ownFileSize,
  readOwnText,
} from '../../layerfs/content/own-files.ts'
import { removePath } from '../../layerfs/layer/remove-tree.ts'
import type { Store } from '../../layerfs/store.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { type RecordedBuild, readRecord } from './build-record.ts'

/** As BuildKit keeps them; output beyond the bytes goes earlier, but never that of the last build. */
const kept = { builds: 50, bytes: 512 * 1024 * 1024 }

export type HistoryStore = Pick<Store, 'root'>

function buildsDirectory({ root }: HistoryStore): string {
  return join(root, 'builds')
}

/** The process that builds holds a lock on it. */
export function directoryOf(store: HistoryStore, id: string): string {
  return join(buildsDirectory(store), id)
}

/** `20261120-172106-4753f`: names sort by time. */
const idPattern = /^\d{8}-\d{6}-\d{3}[0-9a-f]{2}$/

export function isBuildId(text: string): boolean {
  return idPattern.test(text)
}

/** Latest first. Damaged records are left out. */
export async function listBuilds(store: HistoryStore): Promise<RecordedBuild[]> {
  const builds: RecordedBuild[] = []
  for (const id of await idsOf(store)) {
    const build = await readBuild(store, id)
    if (build !== undefined) builds.push(build)
  }
  return builds
}

async function idsOf(store: HistoryStore): Promise<string[]> {
  return directoriesIn(buildsDirectory(store)).filter(isBuildId).reverse()
}

async function readBuild(store: HistoryStore, id: string): Promise<RecordedBuild | undefined> {
  const path = join(directoryOf(store, id), 'events.jsonl')
  const text = readOwnText(path)
  if (text === undefined) return undefined
  try {
    return readRecord(text, isRunning(store, id))
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    return undefined
  }
}

function isRunning(store: HistoryStore, id: string): boolean {
  try {
    using lock = tryLock(directoryOf(store, id), 'exclusive')
    return lock === undefined
  } catch (error) {
    ignoreMissing(error)
    return false
  }
}

/** The one with this id, or the last one. Throws `not-found`. */
export async function findBuild(store: HistoryStore, id?: string): Promise<RecordedBuild> {
  const wanted = id === undefined || id === 'last' ? (await idsOf(store))[0] : id
  if (wanted === undefined) {
    throw new OciError('not-found', 'No build is remembered yet', {
      hint: 'Build something first: tsbuild .',
    })
  }
  const build = isBuildId(wanted) ? await readBuild(store, wanted) : undefined
  if (build !== undefined) return build
  throw new OciError('not-found', `No build "${printable(wanted)}" is remembered`, {
    hint: '"tsbuild history" lists those that are',
  })
}

/** The whole output of a step as it was written; `undefined` when there was none. */
export async function openLog(
  store: HistoryStore,
  { id }: Pick<RecordedBuild, 'id'>,
  number: number,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const path = join(directoryOf(store, id), `${number}.log`)
  return ownFileSize(path) === undefined ? undefined : createReadStream(path)
}

/** Idempotent. Throws `conflict` for a build that runs. */
export async function removeBuild(store: HistoryStore, id: string): Promise<void> {
  if (!isBuildId(id)) throw new Error(`Not a build: ${id}`)
  if (isRunning(store, id)) {
    throw new OciError('conflict', `Cannot forget build ${id}: it is running`)
  }
  const directory = directoryOf(store, id)
  try {
    removePath(directory)
  } catch (error) {
    ignoreMissing(error)
  }
}

/**
 * Forgets the oldest beyond what is kept; those that run stay. Their sizes are added up only after a
 * build with output: nothing else takes much, and whoever began that has looked at all before it.
 */
export async function pruneBuilds(store: HistoryStore): Promise<void> {
  const ids = await idsOf(store)
  const [last] = ids
  const hasGrown = last !== undefined && (await hasOutput(directoryOf(store, last)))
  let bytes = 0
  for (const [index, id] of ids.entries()) {
    if (hasGrown) bytes += await sizeOf(directoryOf(store, id))
    const isKept = index === 0 || (index < kept.builds && bytes <= kept.bytes)
    if (!isKept && !isRunning(store, id)) await removeBuild(store, id)
  }
}

async function hasOutput(directory: string): Promise<boolean> {
  return filesIn(directory).some(name => name.endsWith('.log'))
}

async function sizeOf(directory: string): Promise<number> {
  let bytes = 0
  for (const name of filesIn(directory)) {
    bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes
}
