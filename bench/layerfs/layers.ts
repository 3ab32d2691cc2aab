/** One layer: unpacked, diffed, compressed. */
import { createHash } from 'node:crypto'
import {
  closeSync,
  copyFileSync,
  createReadStream,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { gzip } from '../../src/layerfs/compression/gzip.ts'
import { hashDiff } from '../../src/layerfs/layer/diff.ts'
import { openUnpackPool } from '../../src/layerfs/layer/unpack-pool.ts'
import { parseDiffId } from '../../src/oci/digest.ts'
import { command, contest, median, peakMemory } from '../measure.ts'
import type { Case } from './case.ts'
import { benchFiles, digestOfFile, smallFiles, writeTar, writeTree } from './files.ts'

export const unpackPlain: Case = { title: 'unpack a tar', run: options => unpack(options, 'tar') }
export const unpackGzip: Case = {
  title: 'unpack a tar.gz',
  run: options => unpack(options, 'tar.gz'),
}

/** GNU tar neither hashes nor looks where links lead. */
async function unpack({ directory, isQuick }: Parameters<Case['run']>[0], kind: 'tar' | 'tar.gz') {
  const tar = join(directory, 'layer.tar')
  writeTar(tar, benchFiles({ count: isQuick ? 4000 : 20_000, sizes: smallFiles }))
  const diffId = parseDiffId(await digestOfFile(tar))
  if (kind === 'tar.gz') command('gzip', ['-k', tar])
  const blob = join(directory, `layer.${kind}`)
  const { size } = statSync(blob)
  const expected = { digest: await digestOfFile(blob), size, diffId }
  const target = join(directory, 'target')
  await using pool = openUnpackPool(1)
  const apply = () => pool.apply({ blob, target, expected, lower: async () => [] })
  const fresh = {
    before: () => mkdirSync(target),
    after: () => rmSync(target, { recursive: true }),
  }
  // The thread starts, and its code is compiled, once for all layers of a pull.
  await contest(1, { works: [apply], ...fresh })
  const gnu = () => command('tar', ['-C', target, '-xpf', blob])
  const [ours = [], theirs = []] = await contest(5, { works: [apply, gnu], ...fresh })
  return {
    ours,
    peakMemory: peakMemory(),
    detail: `${(size / 1e6).toFixed(0)} MB`,
    references: [{ name: 'GNU tar', ms: theirs, goal: 1.5 }],
  }
}

export const smallDiff: Case = {
  title: 'diff of 10 changed files',
  run: async ({ directory, isQuick }) => {
    const lower = join(directory, 'lower')
    const upper = join(directory, 'upper')
    const paths = writeTree(lower, isQuick ? 20_000 : 100_000)
    for (let i = 0; i < 10; i++) {
      const path = paths[i * 1789] ?? ''
      const changed = join(upper, relative(lower, path))
      mkdirSync(dirname(changed), { recursive: true })
      copyFileSync(path, changed)
      // Half of them only look changed: their content has to be compared.
      if (i % 2 === 0) writeFileSync(changed, 'changed\n')
      else utimesSync(changed, statSync(path).atime, statSync(path).mtime)
    }
    const diff = () => hashDiff({ upper, lower: [lower] })
    const [ours = []] = await contest(20, { works: [diff] })
    const detail = `of ${paths.length}`
    return { ours, peakMemory: peakMemory(), detail, references: [], limitMs: 10 }
  },
}

export const largeCommit: Case = {
  title: 'hash of a large file as a layer',
  run: async ({ directory, isQuick }) => {
    const size = isQuick ? 128 * 1024 * 1024 : 1024 * 1024 * 1024
    const path = join(directory, 'upper/large')
    mkdirSync(dirname(path))
    writeFileSync(path, '')
    truncateSync(path, size)
    command('dd', ['if=/dev/zero', `of=${path}`, 'bs=1M', `count=${size >> 20}`, 'conv=notrunc'])
    const works = [
      () => hashDiff({ upper: dirname(path), lower: [] }),
      () => command('sha256sum', [path]),
      () => pipeline(createReadStream(path), createHash('sha256')),
    ]
    const [ours = [], program = [], stream = []] = await contest(3, { works })
    return {
      ours,
      peakMemory: peakMemory(),
      detail: `${size >> 20} MiB`,
      references: [
        { name: 'sha256sum', ms: program, goal: 1.2 },
        { name: 'sha256 of node', ms: stream },
      ],
    }
  },
}

export const parallelGzip: Case = {
  title: 'gzip of a layer',
  run: async ({ directory, isQuick }) => {
    const tar = join(directory, 'layer.tar')
    writeTar(tar, benchFiles({ count: isQuick ? 6000 : 20_000, sizes: smallFiles }))
    const total = statSync(tar).size
    let size = 0
    const compress = async (concurrency: number) => {
      size = 0
      for await (const chunk of gzip(piecesOf(tar), { concurrency })) size += chunk.length
    }
    let whole = 0
    const compressWhole = async () => {
      whole = 0
      const stream = createReadStream(tar).pipe(createGzip({ level: 4, chunkSize: 256 * 1024 }))
      for await (const chunk of stream) whole += chunk.length
    }
    const pack = 'gzip -c -4 "$0" > /dev/null'
    const works = [
      () => compress(2 * availableParallelism()),
      () => compress(1),
      compressWhole,
      () => command('sh', ['-c', pack, tar]),
      () => command('sh', ['-c', `${pack} & ${pack}; wait`, tar]),
    ]
    const [ours = [], one = [], stream = [], program = [], pair = []] = await contest(5, { works })
    const speed = (total / 1e3 / median(ours)).toFixed(0)
    const more = ((100 * size) / whole - 100).toFixed(1)
    // What two processors are here: they may share a core, or its clock.
    const both = median(program.map((each, run) => (2 * each) / (pair[run] ?? Number.NaN)))
    return {
      ours,
      peakMemory: peakMemory(),
      detail: `${speed} MB/s, ${more} % larger than one stream, goal 3 %; two gzip at once: ${both.toFixed(2)}× one`,
      references: [
        { name: 'one block at a time', ms: one, goal: 1 / 1.8 },
        { name: 'one stream', ms: stream },
        { name: 'gzip -4', ms: program },
      ],
    }
  },
}

/** As a layer's tar comes when it is made of a directory: by this thread, none of the pool's. */
function* piecesOf(path: string): Generator<Uint8Array> {
  const fd = openSync(path, 'r')
  try {
    for (;;) {
      const piece = Buffer.allocUnsafe(512 * 1024)
      const length = readSync(fd, piece)
      if (length === 0) return
      yield piece.subarray(0, length)
    }
  } finally {
    closeSync(fd)
  }
}
