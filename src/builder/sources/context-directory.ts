/**
 * ContextDirectory: a build context as files on this machine, wherever it comes from (X02).
 *
 * What comes from elsewhere lies in a temporary directory of the store; archives are unpacked there
 * and no path in them leads outside. What they hold belongs to root.
 */
import { createWriteStream, type Stats, statSync } from 'node:fs'
import { mkdir, open, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { detectEncoding } from '../../layerfs/compression/decompress.ts'
import { extractArchive } from '../../layerfs/layer/extract.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import type { GitSource } from '../plan/git-source.ts'
import { vertex } from '../vertex.ts'
import type { ContextName } from './context-name.ts'
import { gitRepositories } from './git-repositories.ts'
import { directoryIn } from './git-tree.ts'
import type { RemoteWorld } from './remote-sources.ts'
import { downloadTime, type SourceTime } from './source-time.ts'
import { urlFetcher } from './url-fetcher.ts'
import { parseUrl, shownUrl } from './url-request.ts'

export interface ContextDirectory extends AsyncDisposable {
  readonly path: string
  /** When what it comes from was made; absent for what is on this machine. */
  readonly time?: SourceTime
  /** Its text, of a context that is nothing but a Dockerfile; `path` is then empty. */
  readonly dockerfile?: string
}

export interface ContextWorld extends RemoteWorld {
  readonly stdin: () => AsyncIterable<Uint8Array>
  /** Whether checkouts have their `.git` (BUILDKIT_CONTEXT_KEEP_GIT_DIR). */
  readonly keepGitDir: boolean
  /** Whether the files of checkouts have the time of their commit; a URL's `mtime` comes first. */
  readonly commitTimes?: boolean
  readonly signal: AbortSignal
}

/** For what needs neither a standard input nor a checkout. */
type DownloadWorld = Pick<ContextWorld, keyof RemoteWorld | 'signal'>

/**
 * Throws `not-found` where there is no directory, `invalid` for a broken archive, and what fetching
 * throws; nothing is left then. Disposing it removes what was made for it.
 */
export async function openContextDirectory(
  name: ContextName,
  world: ContextWorld,
): Promise<ContextDirectory> {
  switch (name.kind) {
    case 'directory':
      return localDirectory(name.path)
    case 'git':
      return await checkedOut(name.source, world)
    case 'url':
      return await fromUrl(name.url, world)
    case 'stdin':
      return await fromStdin(world)
  }
}

function localDirectory(path: string): ContextDirectory {
  if (statIfThere(path)?.isDirectory() === true)
    return { path, [Symbol.asyncDispose]: async () => {} }
  throw new OciError('not-found', `Build context "${printable(path)}" is not a directory`)
}

/** What is at a path of this machine; `undefined` where there is nothing. */
export function statIfThere(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined
    throw error
  }
}

async function checkedOut(source: GitSource, world: ContextWorld): Promise<ContextDirectory> {
  const { keepGitDir, commitTimes = false, signal } = world
  const repositories = gitRepositories({ ...world, tempDir: world.store.tempDir })
  const wanted: GitSource = {
    keepGitDir,
    ...(commitTimes ? { mtime: 'commit' } : {}),
    ...source,
  }
  try {
    const { directory, committed } = await repositories.checkout({
      source: wanted,
      namedBy: 'user',
      signal,
    })
    return {
      path: directoryIn(directory, source.subdir),
      time: async () => committed,
      [Symbol.asyncDispose]: () => repositories[Symbol.asyncDispose](),
    }
  } catch (error) {
    await repositories[Symbol.asyncDispose]()
    throw error
  }
}

async function fromUrl(url: string, world: ContextWorld): Promise<ContextDirectory> {
  const { file, time } = await download(url, world)
  const directory = await inTempDir(world, place => unpacked(file, place, world))
  return { ...directory, time }
}

/** Where what the URL has lies in the store, and when it was made. */
async function download(url: string, world: DownloadWorld) {
  const { content, records } = world.store
  const fetched = await urlFetcher({ ...world, content, records }).fetch(url, world)
  const file = content.pathOf(fetched.digest)
  return { file, time: () => downloadTime({ file, ...fetched }, world.signal) }
}

/** A Dockerfile that a URL has (X01). Throws `too-large`, and what fetching throws. */
export async function fetchDockerfile(url: string, world: DownloadWorld): Promise<string> {
  const { file } = await download(url, world)
  if ((await stat(file)).size <= maxDockerfile) return await readFile(file, 'utf8')
  throw new OciError(
    'too-large',
    `Cannot read the Dockerfile at "${shownUrl(parseUrl(url))}": more than ${maxDockerfile} bytes`,
  )
}

async function fromStdin(world: ContextWorld): Promise<ContextDirectory> {
  return await vertex('[internal] load remote build context', world.emit, () =>
    inTempDir(world, async place => {
      const file = join(place, 'stdin')
      await pipeline(world.stdin(), createWriteStream(file), { signal: world.signal })
      return await unpacked(file, place, world)
    }),
  )
}

type Unpacked = Pick<ContextDirectory, 'path' | 'dockerfile'>

async function inTempDir(
  { store }: ContextWorld,
  fill: (place: string) => Promise<Unpacked>,
): Promise<ContextDirectory> {
  const owned = await store.tempDir()
  try {
    const found = await fill(owned.path)
    return { ...found, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() }
  } catch (error) {
    await owned[Symbol.asyncDispose]()
    throw error
  }
}

/** An archive's files, or the text of a Dockerfile: told apart by the bytes (X02). */
async function unpacked(file: string, place: string, { signal }: ContextWorld): Promise<Unpacked> {
  const path = join(place, 'context')
  await mkdir(path, { mode: 0o755 })
  using from = openRoot({ kind: 'directory', path: dirname(file), readOnly: true })
  using to = openRoot({ kind: 'directory', path, readOnly: false })
  const source = { root: from, path: basename(file) }
  const owner = { uid: 0, gid: 0 }
  const found = await extractArchive(source, { root: to, path: '/' }, { owner, signal })
  if (found === 'extracted') return { path }
  if (await isCompressed(file)) {
    throw new OciError(
      'invalid',
      'Cannot read build context: compressed, but no tar archive inside',
    )
  }
  return { path, dockerfile: from.readFile(source.path, maxDockerfile).toString('utf8') }
}

/** A Dockerfile is a program, not a data file: longer ones are a mistake. */
export const maxDockerfile: number = 16 * 1024 * 1024

async function isCompressed(file: string): Promise<boolean> {
  await using handle = await open(file)
  const head = Buffer.alloc(6)
  const { bytesRead } = await handle.read(head, 0, head.length, 0)
  return detectEncoding(head.subarray(0, bytesRead)) !== 'none'
}
