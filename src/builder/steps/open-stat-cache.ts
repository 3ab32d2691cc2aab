/**
 * The stat cache of a build context, kept in the store's records between builds, by the hash of its
 * directory:
 *
 *   records/context/<hex>.json   { "answers": [[step, { "looks": …, "parts": { … } }], …] }
 *   records/listing/<hex>.bytes  what `encode` draws
 *
 * A context that did not change needs the first alone.
 */
import { realpathSync } from 'node:fs'
import type { Records } from '../../layerfs/content/records.ts'
import { Listing } from '../../layerfs/native/listing.ts'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asArray, asSize, asString, asStringMap, member } from '../../oci/json.ts'
import { FileContents } from './file-contents.ts'
import {
  type Earlier,
  type KnownDirectory,
  type Learned,
  type StatCache,
  statCache,
} from './stat-cache.ts'

export interface KeptStatCache extends AsyncDisposable {
  readonly cache: StatCache
}

/** Raised when what is kept changes: what older programs kept is then not found. */
const version = 5

/** More steps than a build has: those that are gone from the Dockerfile are forgotten. */
const mostAnswers = 64

/** Disposing it keeps what was learned, if it can: a full disk costs the next build time, no more. */
export async function openStatCache(
  records: Records,
  directory: string,
  now: () => Date,
): Promise<KeptStatCache> {
  const hex = hexOf(digestOf(`${version} ${realpathSync.native(directory)}`))
  const answers = orEmpty(decodeAnswers, await records.get('context', hex))
  let directories: Promise<ReadonlyMap<string, KnownDirectory>> | undefined
  const read = async () => orEmpty(decodeDirectories, await records.getBytes('listing', hex))
  const cache = statCache(
    {
      answers: () => answers,
      directories: () => {
        directories ??= read()
        return directories
      },
    },
    now,
  )
  return {
    cache,
    [Symbol.asyncDispose]: async () => {
      const learned = await cache.learned()
      if (learned !== undefined) await keep(records, hex, learned).catch(() => {})
    },
  }
}

async function keep(records: Records, hex: string, learned: Learned): Promise<void> {
  const { answers, directories } = learned
  await records.put('context', hex, { answers: [...answers].slice(-mostAnswers) })
  await records.putBytes('listing', hex, encode(directories))
}

/** What another version of the program, or a crash, left is nothing. */
function orEmpty<T, K, V>(
  decode: (value: T) => ReadonlyMap<K, V>,
  value: T | undefined,
): ReadonlyMap<K, V> {
  if (value === undefined) return new Map()
  try {
    return decode(value)
  } catch (error) {
    if (error instanceof OciError || error instanceof RangeError) return new Map()
    throw error
  }
}

function decodeAnswers(value: unknown): ReturnType<Earlier['answers']> {
  const node = { document: 'context record', path: '', value }
  return new Map(
    asArray(member(node, 'answers')).map(pair => {
      const [step, answer] = asArray(pair)
      if (step === undefined || answer === undefined) throw new RangeError('No answer')
      const looks = asString(member(answer, 'looks'))
      return [asString(step), { looks, parts: asStringMap(member(answer, 'parts')) }]
    }),
  )
}

/** Of each directory: four lengths, its path, its listing, the digests, and JSON of what is no digest. */
function encode(directories: ReadonlyMap<string, KnownDirectory>): Buffer {
  const parts: Uint8Array[] = []
  for (const [place, { listing, contents }] of directories) {
    const others = contents.others.size === 0 ? '' : JSON.stringify([...contents.others])
    const own = [Buffer.from(place), listing.bytes, contents.digests, Buffer.from(others)]
    const lengths = Buffer.alloc(own.length * 4)
    for (const [index, part] of own.entries()) lengths.writeUInt32LE(part.length, index * 4)
    parts.push(lengths, ...own)
  }
  return Buffer.concat(parts)
}

function decodeDirectories(bytes: Buffer): ReadonlyMap<string, KnownDirectory> {
  const directories = new Map<string, KnownDirectory>()
  let at = 0
  const take = (length: number) => {
    if (at + length > bytes.length) throw new RangeError('A listing record ends early')
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const lengths = take(16)
    const place = take(lengths.readUInt32LE(0)).toString()
    const listing = new Listing(take(lengths.readUInt32LE(4)))
    const digests = take(lengths.readUInt32LE(8))
    const contents = new FileContents(digests, othersIn(take(lengths.readUInt32LE(12))))
    if (contents.length !== listing.length) throw new RangeError('A listing differs')
    directories.set(place, { listing, contents })
  }
  return directories
}

function othersIn(text: Buffer): [number, string][] {
  if (text.length === 0) return []
  const value: unknown = JSON.parse(text.toString())
  return asArray({ document: 'listing record', path: '', value }).map(pair => {
    const [index, content] = asArray(pair)
    if (index === undefined || content === undefined) throw new RangeError('No content')
    return [asSize(index), asString(content)]
  })
}
