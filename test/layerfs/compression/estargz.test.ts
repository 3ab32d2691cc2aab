import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type EstargzSummary, estargz } from '../../../src/layerfs/compression/estargz.ts'
import {
  dir,
  file,
  hardlink,
  layerBench,
  listTree,
  symlink,
  tarOf,
  whiteout,
} from '../layer/layer-support.ts'

interface Made {
  readonly blob: Buffer
  readonly summary: EstargzSummary
}

async function make(tar: Buffer, cut = tar.length): Promise<Made> {
  const parts: Uint8Array[] = []
  let summary: EstargzSummary | undefined
  const chunks = (function* () {
    for (let at = 0; at < tar.length; at += cut) yield tar.subarray(at, at + cut)
  })()
  for await (const part of estargz(chunks, {}, found => {
    summary = found
  })) {
    parts.push(part)
  }
  if (summary === undefined) throw new Error('No summary')
  return { blob: Buffer.concat(parts), summary }
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

interface TocEntry {
  readonly name: string
  readonly type: string
  readonly size?: number
  readonly offset?: number
  readonly chunkOffset?: number
  readonly chunkSize?: number
  readonly digest?: string
  readonly chunkDigest?: string
  readonly xattrs?: Record<string, string>
}

/** As a lazy reader finds it: from the footer. */
function readToc(blob: Buffer): { toc: Buffer; entries: TocEntry[] } {
  const footer = blob.subarray(-51)
  expect(gunzipSync(footer)).toHaveLength(0)
  expect([...footer.subarray(0, 16)]).toEqual([
    0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, 0x53, 0x47, 22, 0,
  ])
  const place = footer.toString('latin1', 16, 38)
  expect(place).toMatch(/^[0-9a-f]{16}STARGZ$/)
  const tar = gunzipSync(blob.subarray(Number.parseInt(place.slice(0, 16), 16), -51))
  expect(tar.toString('latin1', 0, 17)).toBe('stargz.index.json')
  const toc = tar.subarray(512, 512 + Number.parseInt(tar.toString('latin1', 124, 135), 8))
  const { version, entries } = JSON.parse(toc.toString())
  expect(version).toBe(1)
  return { toc, entries }
}

/** The member that begins at `offset`, or as much of it as is asked for. */
function memberAt(blob: Buffer, offset: number, length: number): Buffer {
  return gunzipSync(blob.subarray(offset)).subarray(0, length)
}

const large = randomBytes(9 * 1024 * 1024)
const drafts = [
  dir('etc'),
  file('etc/empty', ''),
  file('etc/passwd', 'root:x:0:0', { xattrs: { 'user.x': Buffer.from([0, 255]) } }),
  { ...file('large'), content: large },
  file(`${'deep/'.repeat(40)}long`, 'content', { seconds: -5 }),
  symlink('link', 'etc'),
  hardlink('hard', 'etc/passwd'),
  { path: 'fifo', type: 'fifo' as const },
  { path: 'null', type: 'character-device' as const, device: [1, 3] as const },
  whiteout('etc/.wh.gone'),
]
const tar = tarOf(drafts)

describe('estargz()', () => {
  it('keeps the tar as it is, with the TOC behind its end', async () => {
    const { blob, summary } = await make(tar)
    const plain = gunzipSync(blob)
    expect(plain.subarray(0, tar.length).equals(tar)).toBe(true)
    expect(summary).toMatchObject({ diffId: sha256(plain), uncompressedSize: plain.length })
  })

  it('digests every file and every chunk at the place that its TOC tells', async () => {
    const { blob, summary } = await make(tar)
    const { toc, entries } = readToc(blob)
    expect(summary.tocDigest).toBe(sha256(toc))
    let chunks = 0
    for (const entry of entries) {
      if (entry.offset === undefined) continue
      const size = entries.find(({ name }) => name === entry.name)?.size ?? 0
      const length = entry.chunkSize ?? size - (entry.chunkOffset ?? 0)
      expect(sha256(memberAt(blob, entry.offset, length))).toBe(entry.chunkDigest)
      chunks += 1
    }
    expect(chunks).toBe(5)
    expect(entries.find(({ name }) => name === 'large')?.digest).toBe(sha256(large))
    expect(entries.map(({ name }) => name).filter(name => name === 'large')).toHaveLength(3)
  })

  it('describes every kind of entry', async () => {
    const { entries } = readToc((await make(tar)).blob)
    expect(entries.find(({ name }) => name === 'etc/passwd')).toMatchObject({
      type: 'reg',
      size: 10,
      mode: 0o644,
      uid: 0,
      modtime: '2001-09-09T01:46:40Z',
      xattrs: { 'user.x': 'AP8=' },
    })
    expect(entries.find(({ name }) => name === 'link')).toMatchObject({ linkName: 'etc' })
    expect(entries.find(({ name }) => name === 'null')).toMatchObject({ devMajor: 1, devMinor: 3 })
    const types = new Set(entries.map(({ type }) => type))
    expect([...types].sort()).toEqual(
      ['char', 'chunk', 'dir', 'fifo', 'hardlink', 'reg', 'symlink'].sort(),
    )
  })

  it('makes the same bytes however the tar is cut', async () => {
    const expected = await make(tar)
    for (const size of [1000, 512 * 1024]) {
      expect((await make(tar, size)).blob.equals(expected.blob)).toBe(true)
    }
  })

  it('is a layer like any other for us and for GNU tar, without files of its own', async () => {
    const { blob, summary } = await make(tar)
    const names = execFileSync('tar', ['-tz'], { input: blob }).toString().trim().split('\n')
    expect(names).toEqual(drafts.map(({ path }) => path))
    using bench = layerBench()
    await bench.apply(gunzipSync(blob), { blob })
    using plain = layerBench()
    await plain.apply(tar)
    using view = bench.view()
    using expected = plain.view()
    expect(listTree(view)).toEqual(listTree(expected))
    expect(summary.diffId).toBe(sha256(gunzipSync(blob)))
  })

  it('refuses a sparse file, naming it', async () => {
    const sparse = execFileSync(
      'sh',
      ['-c', 'd=$(mktemp -d) && truncate -s 1M $d/holes && tar -C $d -cS holes; rm -r $d'],
      { maxBuffer: 2 ** 24 },
    )
    await expect(make(sparse)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('"holes": a sparse file'),
    })
  })
})
