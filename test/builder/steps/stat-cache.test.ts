import { describe, expect, it } from 'vitest'
import { type Earlier, nothingEarlier, statCache } from '../../../src/builder/steps/stat-cache.ts'
import { Listing, listingOfOne } from '../../../src/layerfs/native/listing.ts'
import type { FileStat } from '../../../src/layerfs/native/syscalls.ts'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'

const now = () => new Date(100_000)

function stat(changes: Partial<FileStat> = {}): FileStat {
  const time = { seconds: 50, nanoseconds: 0 }
  const numbers = { uid: 0, gid: 0, links: 1, devMajor: 0, devMinor: 1, blocks: 8 }
  const device = { rdevMajor: 0, rdevMinor: 0 }
  const own = { mode: 0o100644, size: 3, ino: 7n, mtime: time, ctime: time }
  return { ...numbers, ...device, ...own, ...changes }
}

function listing(files: Readonly<Record<string, FileStat>>): Listing {
  const parts = Object.entries(files).map(
    ([name, each]) => listingOfOne(Buffer.from(name), each).bytes,
  )
  return new Listing(Buffer.concat(parts))
}

/** What the next build begins with. */
async function learnedFrom(cache: ReturnType<typeof statCache>): Promise<Earlier> {
  const learned = await cache.learned()
  if (learned === undefined) throw new Error('Nothing was learned')
  return { answers: () => learned.answers, directories: async () => learned.directories }
}

describe('statCache()', () => {
  it('knows in the next build what looks as it did, whatever came and went beside it', async () => {
    const first = statCache(nothingEarlier, now)
    const before = listing({ a: stat(), b: stat({ ino: 8n }), c: stat({ ino: 9n }) })
    const contents = await first.contentsOf('d', before)
    const body = hexOf(digestOf('B'))
    for (const [index, content] of ['A', body, 'C'].entries()) contents.put(index, content)
    contents.put(2, `${body}\n[]`)
    expect([0, 1, 2].map(index => contents.find(index))).toEqual(['A', body, `${body}\n[]`])
    expect(Buffer.from(contents.digestsFrom(1)).toString('hex')).toBe(`${body}${'0'.repeat(64)}`)
    const second = statCache(await learnedFrom(first), now)
    const after = listing({ '0': stat({ ino: 6n }), b: stat({ ino: 8n }), c: stat({ ino: 10n }) })
    const known = await second.contentsOf('d', after)
    expect([0, 1, 2].map(index => known.find(index))).toEqual([undefined, body, undefined])
    expect((await second.contentsOf('elsewhere', before)).find(0)).toBeUndefined()
  })

  it('does not remember what was changed within two seconds of being looked at', async () => {
    const first = statCache(nothingEarlier, now)
    const files = listing({ a: stat({ ctime: { seconds: 99, nanoseconds: 0 } }), b: stat() })
    const contents = await first.contentsOf('d', files)
    contents.put(0, 'A')
    contents.put(1, 'B')
    expect(contents.find(0)).toBe('A')
    first.keepAnswer({ step: 's', looks: 'l' }, { parts: { files: 'F' }, changed: 99 })
    expect(first.answerTo({ step: 's', looks: 'l' })).toEqual({ files: 'F' })
    const second = statCache(await learnedFrom(first), now)
    const known = await second.contentsOf('d', files)
    expect([known.find(0), known.find(1)]).toEqual([undefined, 'B'])
    expect(second.answerTo({ step: 's', looks: 'l' })).toBeUndefined()
  })

  it('answers the same question only while everything looks the same', async () => {
    const first = statCache(nothingEarlier, now)
    first.keepAnswer({ step: 's', looks: 'l' }, { parts: { files: 'F' }, changed: 50 })
    const second = statCache(await learnedFrom(first), now)
    expect(second.answerTo({ step: 's', looks: 'other' })).toBeUndefined()
    expect(second.answerTo({ step: 'other', looks: 'l' })).toBeUndefined()
    expect(second.answerTo({ step: 's', looks: 'l' })).toEqual({ files: 'F' })
    expect(await second.learned()).toBeUndefined()
  })

  it('keeps what an answer spared it to look up', async () => {
    const first = statCache(nothingEarlier, now)
    const files = listing({ a: stat() })
    ;(await first.contentsOf('one', files)).put(0, 'A')
    first.keepAnswer({ step: 's', looks: 'l' }, { parts: {}, changed: 50 })
    const second = statCache(await learnedFrom(first), now)
    second.answerTo({ step: 's', looks: 'l' })
    ;(await second.contentsOf('two', files)).put(0, 'B')
    const third = statCache(await learnedFrom(second), now)
    expect((await third.contentsOf('one', files)).find(0)).toBe('A')
    expect((await third.contentsOf('two', files)).find(0)).toBe('B')
  })
})
