/** Trees and layers to work on: the same for everyone, about as compressible as programs are. */
import { createHash } from 'node:crypto'
import { closeSync, createReadStream, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TarEntry } from '../../src/layerfs/tar/entry.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../../src/layerfs/tar/writer.ts'
import { type Digest, finishDigest } from '../../src/oci/digest.ts'

/** Of files as packages have them: most are small, most bytes are in few. */
export interface FileSizes {
  readonly median: number
  /** Of the logarithm. 1.8: the mean is five times the median. */
  readonly spread: number
}

/** 20,000 of them are 144 MB. */
export const smallFiles: FileSizes = { median: 1340, spread: 1.8 }
/** 24,000 of them, packed, are 330 MB. */
export const mixedFiles: FileSizes = { median: 5850, spread: 1.8 }

const largest = 1024 * 1024

/** xorshift: random enough, and the same everywhere. */
export function randomNumbers(seed: number): () => number {
  let state = seed * 2_654_435_761 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const poolSize = 4 * 1024 * 1024

/** Words, with stretches of noise between them. */
function makePool(): Buffer {
  const next = randomNumbers(7)
  const words = Array.from({ length: 4096 }, () => (next() * 2 ** 40).toString(36))
  const pool = Buffer.alloc(poolSize)
  for (let at = 0; at < poolSize; ) {
    const isNoise = next() < 0.25
    for (let i = 0; i < 64 && at < poolSize; i++) {
      if (isNoise) pool[at++] = next() * 256
      else at += pool.write(`${words[Math.floor(next() * words.length)]} `, at, 'latin1')
    }
  }
  return pool
}

let pool: Buffer | undefined

export interface BenchFile {
  readonly path: string
  readonly content: Buffer
}

export interface BenchTree {
  readonly count: number
  readonly sizes: FileSizes
  /** Of every path. */
  readonly prefix?: string
}

/** A hundred to a directory. */
export function* benchFiles({ count, sizes, prefix = '' }: BenchTree): Generator<BenchFile> {
  pool ??= makePool()
  const next = randomNumbers(count + prefix.length)
  for (let i = 0; i < count; i++) {
    const size = Math.min(largest, Math.floor(sizes.median * Math.exp(sizes.spread * normal(next))))
    const start = Math.floor(next() * (poolSize - largest))
    const directory = `${prefix}dir${Math.floor(i / 10_000)}/sub${Math.floor(i / 100)}`
    yield { path: `${directory}/file-${i}.txt`, content: pool.subarray(start, start + size) }
  }
}

/** Box and Muller. */
function normal(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
}

/** Files alone: directories are implied, as in many real layers. */
export function writeTar(target: string, files: Iterable<BenchFile>): void {
  const fd = openSync(target, 'w')
  try {
    for (const { path, content } of files) {
      const parts = [
        encodeEntry(entryOf(path, content.length)),
        content,
        contentPadding(content.length),
      ]
      writeSync(fd, Buffer.concat(parts))
    }
    writeSync(fd, endOfArchive())
  } finally {
    closeSync(fd)
  }
}

function entryOf(path: string, size: number): TarEntry {
  return {
    type: 'file',
    path: Buffer.from(path),
    linkPath: Buffer.alloc(0),
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtime: { seconds: 1_700_000_000, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  }
}

/** Small files, quickly. */
export function writeTree(directory: string, count: number): string[] {
  const paths: string[] = []
  for (let i = 0; i < count; i++) {
    const sub = join(directory, `dir${Math.floor(i / 1000)}`)
    if (i % 1000 === 0) mkdirSync(sub, { recursive: true })
    const path = join(sub, `file-${i}`)
    writeFileSync(path, `${i}\n`)
    paths.push(path)
  }
  return paths
}

/** Read in pieces: what a case needs of memory is to be its own. */
export async function digestOfFile(path: string): Promise<Digest> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return finishDigest(hash)
}
