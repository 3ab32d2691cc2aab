/**
 * Small values by key, for what can be made again: the build cache.
 *
 *   <root>/<kind>/<hex>.json    a JSON value
 *   <root>/<kind>/<hex>.bytes   the SHA-256 of what follows, and that: a million bytes as JSON would
 *                               take longer to write than what they tell takes to find out
 *
 * A record is whole or absent. It is not synced: after a power failure it may be missing or
 * damaged, and both read as absent.
 *
 * Records are read and written synchronously, some for every step of a build: a trip to the thread
 * pool takes ten times as long as such a read.
 */
import { createHash } from 'node:crypto'
import { statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { ignoreMissing, removeFile, sweepTemporaries, writeFileAtomic } from './atomic-file.ts'
import { filesIn, readOwnBytes, readOwnText } from './own-files.ts'

export interface Record {
  readonly hex: string
  /** Of one of bytes, which is not read for this: `undefined`. */
  readonly value: unknown
  /** When it was last put or touched, to the minute. */
  readonly usedAt: Date
}

export interface Records {
  /** `undefined` when absent. The value is as it was parsed: to be decoded by the caller. */
  get(kind: string, hex: string): Promise<unknown>
  put(kind: string, hex: string, value: object): Promise<void>
  /** The same for bytes: a kind has these or the others. */
  getBytes(kind: string, hex: string): Promise<Buffer | undefined>
  putBytes(kind: string, hex: string, bytes: Uint8Array): Promise<void>
  /** Notes that the record was of use; nothing when it is absent. */
  touch(kind: string, hex: string): Promise<void>
  /** Idempotent. */
  remove(kind: string, hex: string): Promise<void>
  list(kind: string): AsyncIterable<Record>
}

const suffixes = { json: '.json', bytes: '.bytes' } as const

/** `kind` and `hex` become file names: anything else is a bug of the caller, and throws. */
export function openRecords(root: string): Records {
  const pathOf = (kind: string, hex: string, form: keyof typeof suffixes = 'json') => {
    if (!/^[0-9a-f]{1,128}$/.test(hex)) throw new Error(`Not a record key: ${hex}`)
    return join(directoryOf(root, kind), `${hex}${suffixes[form]}`)
  }
  const put = (path: string, data: string | Uint8Array) =>
    writeFileAtomic(path, data, { durability: 'unsynced' })
  return {
    get: async (kind, hex) => parseOrAbsent(readOwnText(pathOf(kind, hex))),
    put: (kind, hex, value) => put(pathOf(kind, hex), JSON.stringify(value)),
    getBytes: async (kind, hex) => verifiedOrAbsent(readOwnBytes(pathOf(kind, hex, 'bytes'))),
    putBytes: (kind, hex, bytes) =>
      put(pathOf(kind, hex, 'bytes'), Buffer.concat([sumOf(bytes), bytes])),
    touch: async (kind, hex) => touch(pathOf(kind, hex)),
    remove: async (kind, hex) => {
      removeFile(pathOf(kind, hex))
      removeFile(pathOf(kind, hex, 'bytes'))
    },
    list: kind => listRecords(directoryOf(root, kind)),
  }
}

/** Often used records are not written to each time. */
const touchedMs = 60 * 1000

function touch(path: string): void {
  const info = statSync(path, { throwIfNoEntry: false })
  const now = new Date()
  if (info === undefined || now.getTime() - info.mtimeMs < touchedMs) return
  try {
    utimesSync(path, now, now)
  } catch (error) {
    ignoreMissing(error)
  }
}

function directoryOf(root: string, kind: string): string {
  if (!/^[a-z][a-z0-9-]*$/.test(kind)) throw new Error(`Not a kind of record: ${kind}`)
  return join(root, kind)
}

async function* listRecords(directory: string): AsyncGenerator<Record> {
  await sweepTemporaries(directory)
  let read = 0
  for (const name of filesIn(directory)) {
    const isJson = name.endsWith(suffixes.json)
    if (!isJson && !name.endsWith(suffixes.bytes)) continue
    // Others have their turn.
    if (++read % readAtOnce === 0) await setImmediate()
    const path = join(directory, name)
    const value = isJson ? parseOrAbsent(readOwnText(path)) : undefined
    const info = statSync(path, { throwIfNoEntry: false })
    if ((isJson && value === undefined) || info === undefined) continue
    yield { hex: name.slice(0, name.indexOf('.')), value, usedAt: info.mtime }
  }
}

const readAtOnce = 32

function parseOrAbsent(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const sumSize = 32

function sumOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function verifiedOrAbsent(stored: Buffer | undefined): Buffer | undefined {
  if (stored === undefined) return undefined
  const bytes = stored.subarray(sumSize)
  return sumOf(bytes).equals(stored.subarray(0, sumSize)) ? bytes : undefined
}
