/**
 * The stat cache of a build context, kept in the store's records between builds, by the hash of its
 * directory:
 *
 *   records/context/<hex>.json   { "answers": [[step, { "looks": …, "parts": { … } }], …] }
 *   records/listing/<hex>.json   { "directories": base64 of what `encode` draws }
 *
 * A context that did not change needs the first alone.
 */
import { realpath } from 'node:fs/promises'
import type { Records } from '../../layerfs/content/records.ts'
import { Listing } from '../../layerfs/native/listing.ts'
import { digestOf, hexOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asArray, asString, asStringMap, member } from '../../oci/json.ts'
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
const version = 4

/** More steps than a build has: those that are gone from the Dockerfile are forgotten. */
const mostAnswers = 64

/** Disposing it keeps what was learned, if it can: a full disk costs the next build time, no more. */
export async function openStatCache(
  records: Records,
  directory: string,
  now: () => Date,
): Promise<KeptStatCache> {
  const hex = hexOf(digestOf(`${version} ${await realpath(directory)}`))
  const answers = orEmpty(decodeAnswers, await records.get('context', hex))
  let directories: Promise<ReadonlyMap<string, KnownDirectory>> | undefined
  const read = async () => orEmpty(decodeDirectories, await records.get('listing', hex))
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
  await records.put('listing', hex, { directories: encode(directories).toString('base64') })
}

/** What another version of the program, or a crash, left is nothing. */
function orEmpty<K, V>(
  decode: (value: unknown) => ReadonlyMap<K, V>,
  value: unknown,
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

/** Of each directory: three lengths, its path, its listing, and of each entry what is known. */
function encode(directories: ReadonlyMap<string, KnownDirectory>): Buffer {
  const parts: Buffer[] = []
  for (const [place, { listing, contents }] of directories) {
    const texts = [Buffer.from(place), listing.bytes, Buffer.from(contents.join('\0'))]
    const lengths = Buffer.alloc(12)
    for (const [index, text] of texts.entries()) lengths.writeUInt32LE(text.length, index * 4)
    parts.push(lengths, ...texts)
  }
  return Buffer.concat(parts)
}

function decodeDirectories(value: unknown): ReadonlyMap<string, KnownDirectory> {
  const node = { document: 'listing record', path: '', value }
  const bytes = Buffer.from(asString(member(node, 'directories')), 'base64')
  const directories = new Map<string, KnownDirectory>()
  let at = 0
  const take = (length: number) => {
    if (at + length > bytes.length) throw new RangeError('A listing record ends early')
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const lengths = take(12)
    const place = take(lengths.readUInt32LE(0)).toString()
    const listing = new Listing(take(lengths.readUInt32LE(4)))
    const known = take(lengths.readUInt32LE(8)).toString()
    const contents = listing.length === 0 ? [] : known.split('\0')
    if (contents.length !== listing.length) throw new RangeError('A listing differs')
    directories.set(place, { listing, contents })
  }
  return directories
}
