// The tar reader: any bytes give entries or an error for people; the same however they are cut; and
// what is written of an entry reads as that entry.
import { createHash } from 'node:crypto'
import { defaultBudgets } from '../../dist/layerfs/tar/entry.js'
import { TarReader } from '../../dist/layerfs/tar/reader.js'
import { contentPadding, encodeEntry, endOfArchive } from '../../dist/layerfs/tar/writer.js'
import { OciError } from '../../dist/oci/errors.js'
import { repairChecksums, tarSeeds, tarWords } from './tar-seeds.mjs'

export const watched = /\/dist\/layerfs\/tar\//

export function open() {
  return { seeds: tarSeeds('/outside'), words: tarWords, run, repair: repairChecksums, close() {} }
}

const budgets = { ...defaultBudgets, extendedHeader: 65_536, entries: 1000, content: 2 ** 20 }

function run(bytes) {
  const whole = read(bytes, bytes.length)
  for (const size of [1, 511, 4097]) {
    if (size === 1 && bytes.length > 2048) continue
    assertSame('cut otherwise', whole, read(bytes, Math.max(1, size)))
  }
  for (const entry of whole.entries) assertSurvives(entry)
}

function read(bytes, chunkSize) {
  const [entries, contents] = [[], []]
  const visitor = {
    onEntry: entry => {
      entries.push(entry)
      contents.push(Buffer.alloc(entry.size))
    },
    onData: (chunk, offset) => chunk.copy(contents.at(-1), offset),
    onEnd: () => {},
  }
  try {
    const reader = new TarReader(visitor, budgets)
    for (let at = 0; at < bytes.length; at += chunkSize) {
      reader.push(bytes.subarray(at, at + chunkSize))
    }
    reader.end()
    return { entries, contents }
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    return { entries, contents, message: error.message }
  }
}

function assertSurvives(entry) {
  const tar = Buffer.concat([
    encodeEntry(entry),
    Buffer.alloc(entry.size),
    contentPadding(entry.size),
    endOfArchive(),
  ])
  assertSame(
    'written and read again',
    { entries: [entry] },
    { entries: read(tar, tar.length).entries },
  )
}

function assertSame(what, one, other) {
  const [a, b] = [one, other].map(described)
  if (a !== b) throw new Error(`Not the same when ${what}:\n${a}\n${b}`)
}

function described({ entries, contents = [], message }) {
  const bodies = contents.map(bytes => sha1(bytes))
  return JSON.stringify({ entries: entries.map(textual), bodies, message })
}

// JSON makes a list of numbers of a Buffer.
function textual(entry) {
  const [path, linkPath] = [entry.path, entry.linkPath].map(bytes => bytes.toString('latin1'))
  const xattrs = entry.xattrs.map(({ name, value }) => [name, value].map(String))
  return { ...entry, path, linkPath, xattrs }
}

function sha1(bytes) {
  return createHash('sha1').update(bytes).digest('hex')
}
