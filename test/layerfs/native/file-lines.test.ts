import { constants } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fileLine } from '../../../src/builder/explain/file-line.ts'
import { Listing, listingOfOne } from '../../../src/layerfs/native/listing.ts'
import { type FileStat, notWanted, syscalls } from '../../../src/layerfs/native/syscalls.ts'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'

const time = { seconds: 50, nanoseconds: 0 }
const plain: FileStat = {
  mode: constants.S_IFREG | 0o644,
  uid: 0,
  gid: 0,
  links: 1,
  devMajor: 0,
  devMinor: 1,
  rdevMajor: 0,
  rdevMinor: 0,
  ino: 7n,
  size: 3,
  blocks: 8,
  mtime: time,
  ctime: time,
}

interface Given {
  readonly name: string
  readonly stat: FileStat
  readonly isKnown: boolean
  /** As it will be; absent: not wanted. */
  readonly mode: number | undefined
}

const type = fc.oneof(
  { weight: 20, arbitrary: fc.constant(constants.S_IFREG) },
  fc.constantFrom(constants.S_IFDIR, constants.S_IFLNK),
)
const number = fc.oneof(fc.nat(100_000), fc.constant(2 ** 32 - 1))
const size = fc.oneof(fc.nat(100_000), fc.constant(2 ** 53 - 1))
const file = fc.record({
  name: fc.oneof({ weight: 20, arbitrary: fc.stringMatching(/^[a-d]{1,20}$/) }, fc.constant('é')),
  stat: fc
    .record({ type, bits: fc.nat(0o7777), uid: number, gid: number, size, links: fc.nat(2) })
    .map(({ type: kind, bits, ...more }) => ({ ...plain, ...more, mode: kind | bits })),
  isKnown: fc.nat(20).map(n => n > 0),
  mode: fc.option(fc.nat(0o7777), { nil: undefined }),
})
const files = fc.uniqueArray(file, { maxLength: 40, selector: ({ name }) => name })

const digestFor = ({ name, isKnown }: Given) => (isKnown ? hexOf(digestOf(name)) : '0'.repeat(64))

/** As the builder makes each by itself. */
function expected(given: readonly Given[], path: string, owner: string): [number, string] {
  const isWanted = ({ mode }: Given) => mode !== undefined
  const isDirectory = ({ stat }: Given) => (stat.mode & constants.S_IFMT) === constants.S_IFDIR
  const isOdd = (each: Given) =>
    (each.stat.mode & constants.S_IFMT) !== constants.S_IFREG || !each.isKnown || each.name === 'é'
  const end = given.findIndex(each => isDirectory(each) || (isWanted(each) && isOdd(each)))
  const done = end === -1 ? given : given.slice(0, end)
  const lines = done.filter(isWanted).map(each =>
    fileLine({
      path: path + each.name,
      mode: each.mode ?? 0,
      owner: owner === '' ? `${each.stat.uid}:${each.stat.gid}` : owner,
      type: constants.S_IFREG,
      more: each.stat.size,
      attributes: [],
      content: digestFor(each),
    }),
  )
  return [done.length, lines.join('')]
}

describe('fileLines()', () => {
  const path = fc.constantFrom('', 'src/', 'ä/b/')
  const owner = fc.constantFrom('', '0:0', 'some:one')
  const ask = (given: readonly Given[], modes: Uint32Array | null, texts: [string, string]) => {
    const entries = given.map(({ name, stat }) => listingOfOne(Buffer.from(name), stat).bytes)
    const digests = Buffer.from(given.map(digestFor).join(''), 'hex')
    const [count, lines] = syscalls().fileLines(
      new Listing(Buffer.concat(entries)).bytes,
      digests,
      modes === null ? null : new Uint8Array(modes.buffer),
      [Buffer.from(texts[0]), Buffer.from(texts[1])],
    )
    return [count, `${lines}`]
  }

  test('gives the lines that the builder makes, up to the first that it does not know', () => {
    fc.assert(
      fc.property(files, path, owner, (given, ...texts) => {
        const modes = Uint32Array.from(given, ({ mode }) => mode ?? notWanted)
        expect(ask(given, modes, texts)).toEqual(expected(given, ...texts))
        const own = given.map(each => ({ ...each, mode: each.stat.mode & 0o7777 }))
        expect(ask(own, null, texts)).toEqual(expected(own, ...texts))
      }),
    )
  })

  test('refuses digests and modes that are not one for each entry', () => {
    const entry = listingOfOne(Buffer.from('a'), plain).bytes
    const texts = [Buffer.alloc(0), Buffer.alloc(0)] as const
    const call = (digests: number, modes: number) => () =>
      syscalls().fileLines(entry, Buffer.alloc(digests), new Uint8Array(modes), texts)
    expect(call(32, 4)).not.toThrow()
    for (const [digests, modes] of [
      [31, 4],
      [64, 4],
      [32, 3],
      [32, 8],
    ] as const) {
      expect(call(digests, modes)).toThrow('for each entry')
    }
  })
})
