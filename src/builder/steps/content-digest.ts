/**
 * Content digests: what a COPY's result depends on, and nothing else.
 *
 * Of each file: its path below the source, type, mode and owner *as they will be in the result*,
 * size, link target, device, portable extended attributes and bytes. No times, no path of the
 * source itself. Reference: C21, K03–K05, K09.
 */
import { hash } from 'node:crypto'
import { closeSync, constants } from 'node:fs'
import { openAs } from '../../layerfs/layer/file-type.ts'
import { procPath } from '../../layerfs/layer/open-in-root.ts'
import { safePath, shown } from '../../layerfs/layer/path-bytes.ts'
import { type FileStat, resolve, syscalls } from '../../layerfs/native/syscalls.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { lookText } from '../explain/inventory.ts'
import { bodyDigest } from './body-digest.ts'
import type { SourceFilter } from './copy-filter.ts'
import {
  isDirectory,
  isGone,
  isRegularFile,
  isSymbolicLink,
  joinPath,
  type Located,
  listDirectory,
  placeAt,
  type SourceTree,
  unreadable,
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
  /** What a person is told when it changes. */
  look(): string
}

interface SourceFile extends Located {
  /** Path below the source; empty: the source itself. */
  readonly relative: Buffer
}

/** The copy, the diff and whoever unpacks the layer take some memory or a descriptor per level. */
const maxDepth = 1000

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
  const top = Buffer.alloc(0)
  if (isDirectory(source.stat)) {
    await digestDirectory(tree, source, { relative: top, depth: 0, files, options })
  } else files.push(...(await digestFile(tree, { ...source, relative: top }, options)))
  return files
}

interface Walk {
  /** Path of the directory below the source. */
  readonly relative: Buffer
  readonly depth: number
  readonly files: DigestedFile[]
  readonly options: DigestOptions
}

async function digestDirectory(tree: SourceTree, directory: Located, walk: Walk): Promise<void> {
  const { files, options } = walk
  const depth = walk.depth + 1
  if (depth > maxDepth) {
    throw new OciError('too-large', `Cannot copy from ${tree.name}: more than ${maxDepth} levels`)
  }
  options.signal.throwIfAborted()
  for (const entry of listDirectory(tree, directory.path)) {
    const name = entry.path.subarray(entry.path.lastIndexOf('/') + 1)
    const relative = joinPath(walk.relative, name)
    const isDir = isDirectory(entry.stat)
    const taken = options.filter(relative.toString(), isDir)
    if (taken === 'drop') continue
    const file = { ...entry, relative }
    if (taken === 'keep') {
      const known = knownFile(file, options)
      if (known !== undefined) files.push(known)
      else files.push(...(await digestFile(tree, file, options)))
    }
    if (!isDir) continue
    const before = files.length
    await digestDirectory(tree, entry, { relative, depth, files, options })
    // It is made, with its attributes, when something in it is taken.
    if (taken === 'descend' && files.length > before) {
      files.push(...(await digestFile(tree, file, options)))
    }
  }
}

/** Of a file that is as it was: `lstat` has been asked, and no other call is made. */
function knownFile(file: SourceFile, options: DigestOptions): DigestedFile | undefined {
  if (!isRegularFile(file.stat)) return undefined
  const known = options.cache.find(file.stat)
  if (known === undefined) return undefined
  return digested(file, [constants.S_IFREG, file.stat.size], {
    ...decodeContent(known),
    appearance: options.appearance(file.stat),
  })
}

/** None when it vanished, or became something else, since it was listed (X08). */
async function digestFile(
  tree: SourceTree,
  file: SourceFile,
  options: DigestOptions,
): Promise<DigestedFile[]> {
  options.signal.throwIfAborted()
  try {
    return await digestPresent(tree, file, options)
  } catch (error) {
    if (isGone(error)) return []
    if (error instanceof OciError && !options.signal.aborted) throw named(tree, file, error)
    throw unreadable(tree, file.path, error)
  }
}

function named(tree: SourceTree, { path }: Located, { code, message }: OciError): OciError {
  return new OciError(code, `Cannot copy ${shown(safePath(path))} from ${tree.name}: ${message}`, {
    hint: 'leave it out with .dockerignore',
  })
}

async function digestPresent(
  tree: SourceTree,
  file: SourceFile,
  options: DigestOptions,
): Promise<DigestedFile[]> {
  const { stat } = file
  const fields = typeFields(tree, file)
  const content = isRegularFile(stat)
    ? await contentOf(tree, file, options)
    : { body: '', attributes: xattrs(tree, file) }
  if (content === undefined) return []
  return [digested(file, fields, { ...content, appearance: options.appearance(stat) })]
}

interface FoundContent extends FileContent {
  readonly appearance: Appearance
}

function digested(
  file: SourceFile,
  [type, ...more]: readonly (string | number)[],
  { body, attributes, appearance: { mode, owner } }: FoundContent,
): DigestedFile {
  const { path, stat, relative } = file
  return {
    path,
    stat,
    relative,
    digest: sha256([[mode, owner, type, ...more, ...attributes], body]),
    look: () =>
      lookText({
        type: typeLetters.get(type) ?? 'o',
        mode,
        owner,
        content: isRegularFile(stat) ? body : isDirectory(stat) ? '' : sha256(more),
        attributes: attributes.join(' '),
      }),
  }
}

function sha256(value: unknown): string {
  return hash('sha256', JSON.stringify(value))
}

const typeLetters = new Map<string | number | undefined, string>([
  [constants.S_IFREG, 'f'],
  [constants.S_IFDIR, 'd'],
  [constants.S_IFLNK, 'l'],
])

function typeFields(tree: SourceTree, { path, stat }: Located): (string | number)[] {
  const type = stat.mode & constants.S_IFMT
  if (isSymbolicLink(stat)) {
    using place = placeAt(tree, path)
    return [type, syscalls().readlinkat(place.fd, place.name).toString('latin1')]
  }
  if (isRegularFile(stat)) return [type, stat.size]
  return [type, stat.rdevMajor, stat.rdevMinor]
}

/** Attributes that travel in a layer; `security.selinux` and overlayfs's own do not. */
const portableXattr = /^(user\.(?!overlay\.)|security\.capability$)/

function xattrs(tree: SourceTree, { path, stat }: Located): string[] {
  if (isSymbolicLink(stat)) return []
  using place = placeAt(tree, path)
  const name = procPath(place.fd, place.name.toString('latin1'))
  try {
    const names = syscalls().llistxattr(name).map(String).sort()
    return names
      .filter(key => portableXattr.test(key))
      .map(key => `${key}=${syscalls().lgetxattr(name, key).toString('base64')}`)
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP') || hasCode(error, 'ENOENT')) return []
    throw error
  }
}

interface FileContent {
  readonly body: string
  readonly attributes: readonly string[]
}

/** Few files have attributes; the digests of the others stay short. */
function encodeContent({ body, attributes }: FileContent): string {
  return attributes.length === 0 ? body : `${body}\n${JSON.stringify(attributes)}`
}

function decodeContent(text: string): FileContent {
  const end = text.indexOf('\n')
  if (end === -1) return { body: text, attributes: [] }
  return { body: text.slice(0, end), attributes: JSON.parse(text.slice(end + 1)) as string[] }
}

/**
 * From the cache when the file looks untouched since it was last hashed. `undefined`: what is there
 * by now is no regular file.
 */
async function contentOf(
  tree: SourceTree,
  file: Located,
  { cache, signal }: DigestOptions,
): Promise<FileContent | undefined> {
  const known = cache.find(file.stat)
  if (known !== undefined) return decodeContent(known)
  using place = placeAt(tree, file.path)
  const how = resolve.beneath | resolve.noSymlinks
  const fd = syscalls().openat2(place.fd, place.name, [openAs.reading, 0, how])
  try {
    const stat = syscalls().statx(fd, '')
    if (!isRegularFile(stat)) return undefined
    const content = {
      body: await bodyDigest(fd, stat, signal),
      attributes: xattrs(tree, file),
    }
    cache.put(file.stat, encodeContent(content))
    return content
  } finally {
    closeSync(fd)
  }
}
