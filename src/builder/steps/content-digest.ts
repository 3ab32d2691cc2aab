/**
 * Content digests: what a COPY's result depends on, and nothing else.
 *
 * Of each file: its path below the source, type, mode and owner *as they will be in the result*,
 * size, link target, device, portable extended attributes and bytes. No times, no path of the
 * source itself. Reference: C21, K03–K05, K09.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, readSync } from 'node:fs'
import { type FileStat, resolve, syscalls } from '../../layerfs/native/syscalls.ts'
import { hasCode } from '../../oci/errors.ts'
import type { SourceFilter } from './copy-filter.ts'
import {
  isDirectory,
  isRegularFile,
  isSymbolicLink,
  type Located,
  listDirectory,
  type SourceTree,
} from './source-tree.ts'
import type { StatCache } from './stat-cache.ts'

/** How a file will look once copied: what `--chown` and `--chmod` make of it. */
export interface Appearance {
  readonly mode: number
  /** `uid:gid`, or what `--chown` says. */
  readonly owner: string
}

export interface DigestOptions {
  readonly appearance: (stat: FileStat) => Appearance
  readonly filter: SourceFilter
  readonly cache: StatCache
  readonly signal: AbortSignal
}

export interface DigestedFile extends SourceFile {
  readonly digest: string
}

interface SourceFile extends Located {
  /** Path below the source; empty: the source itself. */
  readonly relative: string
}

/**
 * Every file and directory of the source, in the order of its bytes. A directory source itself is
 * not listed: its attributes are not copied (C13).
 */
export async function digestSource(
  tree: SourceTree,
  source: Located,
  options: DigestOptions,
): Promise<DigestedFile[]> {
  const files: DigestedFile[] = []
  if (!isDirectory(source.stat))
    return [await digestFile(tree, { ...source, relative: '' }, options)]
  await digestDirectory(tree, source, { prefix: '', files, options })
  return files
}

interface Walk {
  readonly prefix: string
  readonly files: DigestedFile[]
  readonly options: DigestOptions
}

async function digestDirectory(tree: SourceTree, directory: Located, walk: Walk): Promise<void> {
  for (const entry of listDirectory(tree, directory.path)) {
    const name = entry.path.subarray(entry.path.lastIndexOf('/') + 1).toString()
    const relative = walk.prefix + name
    const isDir = isDirectory(entry.stat)
    const taken = walk.options.filter(relative, isDir)
    if (taken === 'drop') continue
    if (taken === 'keep') {
      walk.files.push(await digestFile(tree, { ...entry, relative }, walk.options))
    }
    if (!isDir) continue
    const before = walk.files.length
    await digestDirectory(tree, entry, { ...walk, prefix: `${relative}/` })
    // It is made, with its attributes, when something in it is taken.
    if (taken === 'descend' && walk.files.length > before) {
      walk.files.push(await digestFile(tree, { ...entry, relative }, walk.options))
    }
  }
}

async function digestFile(
  tree: SourceTree,
  file: SourceFile,
  options: DigestOptions,
): Promise<DigestedFile> {
  options.signal.throwIfAborted()
  const { stat } = file
  const { mode, owner } = options.appearance(stat)
  const header = [mode, owner, ...typeFields(tree, file), ...xattrs(tree, file)]
  const body = isRegularFile(stat) ? await bodyDigest(tree, file, options) : ''
  const digest = createHash('sha256')
    .update(JSON.stringify([header, body]))
    .digest('hex')
  return { ...file, digest }
}

function typeFields(tree: SourceTree, { path, stat }: Located): (string | number)[] {
  const type = stat.mode & constants.S_IFMT
  if (isSymbolicLink(stat)) {
    return [type, syscalls().readlinkat(tree.fd, path).toString('latin1')]
  }
  if (isRegularFile(stat)) return [type, stat.size]
  return [type, stat.rdevMajor, stat.rdevMinor]
}

/** Attributes that travel in a layer; `security.selinux` and overlayfs's own do not. */
const portableXattr = /^(user\.(?!overlay\.)|security\.capability$)/

function xattrs(tree: SourceTree, { path, stat }: Located): string[] {
  if (isSymbolicLink(stat)) return []
  const place = Buffer.concat([Buffer.from(`/proc/self/fd/${tree.fd}/`), path])
  try {
    const names = syscalls().llistxattr(place).map(String).sort()
    return names
      .filter(name => portableXattr.test(name))
      .map(name => `${name}=${syscalls().lgetxattr(place, name).toString('base64')}`)
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP') || hasCode(error, 'ENOENT')) return []
    throw error
  }
}

const chunkSize = 1 << 20

/** From the cache when the file looks untouched since it was last hashed. */
async function bodyDigest(
  tree: SourceTree,
  file: Located,
  { cache, signal }: DigestOptions,
): Promise<string> {
  const known = cache.find(file.stat)
  if (known !== undefined) return known
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW
  const fd = syscalls().openat2(tree.fd, file.path, [flags, 0, resolve.inRoot])
  try {
    const hash = createHash('sha256')
    const chunk = Buffer.allocUnsafe(Math.min(chunkSize, Math.max(file.stat.size, 1)))
    for (let size = 1; size > 0; ) {
      size = readSync(fd, chunk, 0, chunk.length, null)
      hash.update(chunk.subarray(0, size))
      // A long file must not keep the terminal from being drawn nor Ctrl-C from being heard.
      if (size === chunkSize) await pause(signal)
    }
    const digest = hash.digest('hex')
    cache.put(file.stat, digest)
    return digest
  } finally {
    closeSync(fd)
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await new Promise(resume => setImmediate(resume))
  signal.throwIfAborted()
}
