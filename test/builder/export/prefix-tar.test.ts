import { describe, expect, test } from 'vitest'
import { prefixTar } from '../../../src/builder/export/prefix-tar.ts'
import type { TarEntry } from '../../../src/layerfs/tar/entry.ts'
import { TarReader } from '../../../src/layerfs/tar/reader.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../../../src/layerfs/tar/writer.ts'

function entry(type: TarEntry['type'], path: string, more: Partial<TarEntry> = {}): TarEntry {
  return {
    type,
    path: Buffer.from(path),
    linkPath: Buffer.alloc(0),
    mode: 0o640,
    uid: 7,
    gid: 8,
    size: 0,
    mtime: { seconds: 5, nanoseconds: 250_000_000 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
    ...more,
  }
}

const link = (target: string) => ({ linkPath: Buffer.from(target) })
const content = Buffer.from('x'.repeat(700))
const long = 'd/'.repeat(120)

const archive = Buffer.concat([
  encodeEntry(entry('directory', long)),
  encodeEntry(entry('file', 'f', { size: content.length })),
  content,
  contentPadding(content.length),
  encodeEntry(entry('file', 'empty')),
  encodeEntry(entry('hardlink', 'h', link('f'))),
  encodeEntry(entry('symlink', 's', link('/f'))),
  endOfArchive(),
])

async function members(chunkSize: number) {
  const found: string[] = []
  const reader = new TarReader({
    onEntry: ({ type, path, linkPath, size, mode, mtime }) =>
      found.push(`${type} ${path} ${linkPath} ${size} ${mode.toString(8)} ${mtime.nanoseconds}`),
    onData: chunk => found.push(`data ${chunk.length}`),
    onEnd: () => undefined,
  })
  const chunks = function* () {
    for (let at = 0; at < archive.length; at += chunkSize)
      yield archive.subarray(at, at + chunkSize)
  }
  for await (const chunk of prefixTar(chunks(), 'linux_arm64/')) reader.push(chunk)
  reader.end()
  return found.filter(line => !line.startsWith('data'))
}

describe('prefixTar()', () => {
  test.each([512, 1000, 100_000])('moves members and hard links, in chunks of %i', async size => {
    expect(await members(size)).toEqual([
      `directory linux_arm64/${long}  0 640 250000000`,
      'file linux_arm64/f  700 640 250000000',
      'file linux_arm64/empty  0 640 250000000',
      'hardlink linux_arm64/h linux_arm64/f 0 640 250000000',
      'symlink linux_arm64/s /f 0 640 250000000',
    ])
  })

  test('refuses an archive that was cut', async () => {
    const cut = [archive.subarray(0, 1800)]
    await expect(async () => {
      for await (const _ of prefixTar(cut, 'p/'));
    }).rejects.toThrow('it ends inside an entry')
  })
})
