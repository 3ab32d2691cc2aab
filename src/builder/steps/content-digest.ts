/**
 * Content digests: what a COPY's result depends on, and nothing else.
 *
 * Of each file: its path below the source, type, mode and owner *as they will be in the result*,
 * size, link target, device, portable extended attributes and bytes. No times, no path of the
 * source itself. Reference: C21, K03–K05, K09.
 */
import { isUtf8 } from 'node:buffer'
import { closeSync, constants } from 'node:fs'
import { openAs } from '../../layerfs/layer/file-type.ts'
import { procPath } from '../../layerfs/layer/open-in-root.ts'
import { safePath, shown } from '../../layerfs/layer/path-bytes.ts'
import type { BriefStat } from '../../layerfs/native/listing.ts'
import { notWanted, resolve, syscalls } from '../../layerfs/native/syscalls.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { type FileLine, fileLine } from '../explain/file-line.ts'
import { bodyDigest } from './body-digest.ts'
import { type SourceFilter, takeAll } from './copy-filter.ts'
import type { InnerDirectory, ListedDirectory, ListedSource } from './source-listing.ts'
import {
  isDirectory,
  isGone,
  isRegularFile,
  isSymbolicLink,
  joinPath,
  type Located,
  pathText,
  placeAt,
  type SourceTree,
  unreadable,
} from './source-tree.ts'
import type { KnownContents, StatCache } from './stat-cache.ts'

/** How files will look once copied: what `--chown` and `--chmod` make of them. */
export interface Appearance {
  /** `uid:gid`, or what `--chown` says; absent: each file's own. */
  readonly owner?: string
  /** Of anything but a link; absent: its own. */
  readonly mode?: (mode: number, isDirectory: boolean) => number
}

export interface DigestOptions {
  /** What the copy is called, before the paths below it. */
  readonly name: Buffer
  readonly appearance: Appearance
  readonly filter: SourceFilter
  readonly cache: StatCache
  readonly signal: AbortSignal
}

interface SourceFile extends Located {
  /** Path in the copy, its name included. */
  readonly text: string
}

/**
 * A line for every file and directory of the source, in the order of its bytes. A directory source
 * itself is not among them: its attributes are not copied (C13).
 */
export async function digestSource(
  tree: SourceTree,
  source: ListedSource,
  options: DigestOptions,
): Promise<Buffer> {
  const lines: Buffer[] = []
  if (source.kind === 'file') await digestAlone(tree, source, { lines, options })
  else if (source.directory !== undefined) {
    await digestDirectory(tree, source.directory, { lines, options })
  }
  return Buffer.concat(lines)
}

interface Walk {
  readonly lines: Buffer[]
  readonly options: DigestOptions
}

async function digestAlone(
  tree: SourceTree,
  { file, listing }: Extract<ListedSource, { kind: 'file' }>,
  { lines, options }: Walk,
): Promise<void> {
  const text = pathText(options.name)
  const known = await options.cache.contentsOf(`${file.path.toString('latin1')}//`, listing)
  const content = isRegularFile(file.stat) ? known.find(0) : undefined
  if (content !== undefined) lines.push(knownFile(text, file.stat, { content, options }))
  else {
    const learn = (learned: string) => known.put(0, learned)
    lines.push(await digestFile(tree, { ...file, text }, { ...options, learn }))
  }
}

/** Most files are known, and plain: their lines are made by one call for all that follow each other. */
async function digestDirectory(
  tree: SourceTree,
  directory: ListedDirectory,
  walk: Walk,
): Promise<void> {
  const { lines, options } = walk
  const { listing, inner, path } = directory
  options.signal.throwIfAborted()
  const known = await options.cache.contentsOf(path.toString('latin1'), listing)
  const plainLines = plainLinesOf(directory, known, options)
  const textOf = entryText(directory, options.name)
  for (let index = 0; index < listing.length; index++) {
    const within = inner.get(index)
    const isKnown = within === undefined && known.find(index) !== undefined
    if (isKnown) {
      const [count, run] = plainLines(index)
      if (run.length > 0) lines.push(run)
      index += count
      if (index >= listing.length) return
    }
    await digestEntry(tree, index, { directory, known, textOf, walk })
  }
}

interface Entry {
  readonly directory: ListedDirectory
  readonly known: KnownContents
  readonly textOf: (index: number) => string
  readonly walk: Walk
}

async function digestEntry(
  tree: SourceTree,
  index: number,
  { directory, known, textOf, walk }: Entry,
): Promise<void> {
  const { lines, options } = walk
  const { listing, inner, path } = directory
  const within = inner.get(index)
  if (within === undefined && !isTaken(directory, index, options.filter)) return
  const text = textOf(index)
  const content = within === undefined ? known.find(index) : undefined
  if (content !== undefined) {
    lines.push(knownFile(text, listing.brief(index), { content, options }))
    return
  }
  const file = { path: joinPath(path, listing.name(index)), stat: listing.stat(index), text }
  if (within !== undefined) await digestInner(tree, within, { file, walk })
  else {
    const learn = (learned: string) => known.put(index, learned)
    lines.push(await digestFile(tree, file, { ...options, learn }))
  }
}

/** From an entry on: of how many, and their lines. What is no known plain file is left to others. */
function plainLinesOf(
  directory: ListedDirectory,
  known: KnownContents,
  { name, appearance, filter }: DigestOptions,
): (from: number) => [count: number, lines: Buffer] {
  const { listing, relative } = directory
  const above = relative.length === 0 ? name : joinPath(name, relative)
  // What is no text is told apart by more than its bytes: see pathText().
  if (!isUtf8(above)) return () => [0, nothing]
  const start = above.length === 0 ? above : Buffer.concat([above, Buffer.from('/')])
  const owner = Buffer.from(appearance.owner ?? '')
  const modes = wantedModes(directory, appearance, filter)
  return from =>
    syscalls().fileLines(
      listing.entries(from, listing.length),
      known.digestsFrom(from),
      modes === undefined ? null : new Uint8Array(modes.buffer, from * modes.BYTES_PER_ELEMENT),
      [start, owner],
    )
}

/** `undefined`: all files are, each with its own. */
function wantedModes(
  directory: ListedDirectory,
  { mode }: Appearance,
  filter: SourceFilter,
): Uint32Array<ArrayBuffer> | undefined {
  if (mode === undefined && filter === takeAll) return undefined
  const { listing } = directory
  return Uint32Array.from({ length: listing.length }, (_, index) => {
    if (!isTaken(directory, index, filter)) return notWanted
    const own = listing.mode(index)
    return (mode === undefined ? own : mode(own, false)) & 0o7777
  })
}

async function digestInner(
  tree: SourceTree,
  { taken, directory }: InnerDirectory,
  { file, walk }: { readonly file: SourceFile; readonly walk: Walk },
): Promise<void> {
  const { lines, options } = walk
  if (taken === 'keep') lines.push(await digestFile(tree, file, options))
  const before = lines.length
  if (directory !== undefined) await digestDirectory(tree, directory, walk)
  // It is made, with its attributes, when something in it is taken.
  if (taken === 'descend' && lines.length > before) {
    lines.push(await digestFile(tree, file, options))
  }
}

/** A directory that nothing is taken from is not there. */
function isTaken(
  { listing, relative }: ListedDirectory,
  index: number,
  filter: SourceFilter,
): boolean {
  if (isDirectory({ mode: listing.mode(index) })) return false
  if (filter === takeAll) return true
  return filter(joinPath(relative, listing.name(index)).toString(), false) === 'keep'
}

/** The paths of a directory's entries, which mostly are text, as all above them. */
function entryText(
  { relative, listing }: ListedDirectory,
  name: Buffer,
): (index: number) => string {
  const above = relative.length === 0 ? name : joinPath(name, relative)
  const start = above.length > 0 && isUtf8(above) ? `${above}/` : undefined
  return index => {
    const entry = listing.latin1(index)
    if (start !== undefined && ascii.test(entry)) return start + entry
    return pathText(joinPath(above, listing.name(index)))
  }
}

const ascii = /^[\0-\x7f]*$/

/** Of a file that is as it was: `lstat` has been asked, and no other call is made. */
function knownFile(
  path: string,
  stat: BriefStat,
  { content: known, options }: { readonly content: string; readonly options: DigestOptions },
): Buffer {
  const { body: content, attributes } = decodeContent(known)
  return lineOf(path, stat, { more: stat.size, attributes, content, options })
}

interface FileFacts extends Pick<FileLine, 'more' | 'attributes' | 'content'> {
  readonly options: DigestOptions
}

function lineOf(path: string, stat: BriefStat, { options, ...facts }: FileFacts): Buffer {
  const { appearance } = options
  const type = stat.mode & constants.S_IFMT
  const mode =
    appearance.mode === undefined || isSymbolicLink(stat)
      ? stat.mode
      : appearance.mode(stat.mode, isDirectory(stat))
  const owner = appearance.owner ?? `${stat.uid}:${stat.gid}`
  return Buffer.from(fileLine({ path, mode: mode & 0o7777, owner, type, ...facts }))
}

const nothing = Buffer.alloc(0)

interface FileOptions extends DigestOptions {
  /** Is told what stands for the file's content. */
  readonly learn?: (content: string) => void
}

/** Empty when it vanished, or became something else, since it was listed (X08). */
async function digestFile(
  tree: SourceTree,
  file: SourceFile,
  options: FileOptions,
): Promise<Buffer> {
  options.signal.throwIfAborted()
  try {
    return await digestPresent(tree, file, options)
  } catch (error) {
    if (isGone(error) || isNoLink(error)) return nothing
    if (error instanceof OciError && !options.signal.aborted) throw named(tree, file, error)
    throw unreadable(tree, file.path, error)
  }
}

/** What readlinkat(2) says of anything else than a symbolic link. */
function isNoLink(error: unknown): boolean {
  return hasCode(error, 'EINVAL') && error instanceof Error && 'syscall' in error
    ? error.syscall === 'readlinkat'
    : false
}

function named(tree: SourceTree, { path }: Located, { code, message }: OciError): OciError {
  return new OciError(code, `Cannot copy ${shown(safePath(path))} from ${tree.name}: ${message}`, {
    hint: 'leave it out with .dockerignore',
  })
}

async function digestPresent(
  tree: SourceTree,
  file: SourceFile,
  options: FileOptions,
): Promise<Buffer> {
  const { stat, text: path } = file
  const more = moreOf(tree, file)
  const found = isRegularFile(stat)
    ? await readContent(tree, file, options)
    : { body: '', attributes: xattrs(tree, file) }
  if (found === undefined) return nothing
  const { body: content, attributes } = found
  return lineOf(path, stat, { more, attributes, content, options })
}

function moreOf(tree: SourceTree, { path, stat }: Located): string | number {
  if (isSymbolicLink(stat)) {
    using place = placeAt(tree, path)
    return syscalls().readlinkat(place.fd, place.name).toString('latin1')
  }
  return isRegularFile(stat) ? stat.size : `${stat.rdevMajor} ${stat.rdevMinor}`
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

/** Few files have attributes; what is kept of the others stays short. JSON has no NUL. */
function encodeContent({ body, attributes }: FileContent): string {
  return attributes.length === 0 ? body : `${body}\n${JSON.stringify(attributes)}`
}

function decodeContent(text: string): FileContent {
  const end = text.indexOf('\n')
  if (end === -1) return { body: text, attributes: [] }
  return { body: text.slice(0, end), attributes: JSON.parse(text.slice(end + 1)) as string[] }
}

/** `undefined`: what is there by now is no regular file. */
async function readContent(
  tree: SourceTree,
  file: Located,
  { learn, signal }: FileOptions,
): Promise<FileContent | undefined> {
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
    learn?.(encodeContent(content))
    return content
  } finally {
    closeSync(fd)
  }
}
