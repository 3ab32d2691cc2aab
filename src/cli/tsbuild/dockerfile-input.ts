/** Finding and reading the Dockerfile and the .dockerignore that belong to a build (X01, X03). */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative } from 'node:path'
import type { Readable } from 'node:stream'
import {
  type ContextDirectory,
  maxDockerfile,
  statIfThere,
} from '../../builder/sources/context-directory.ts'
import type { ContextName } from '../../builder/sources/context-name.ts'
import { readIgnoreFile } from '../../builder/sources/ignore-file.ts'
import { openRoot, type Root } from '../../layerfs/layer/rootfs.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

export interface DockerfileInput {
  /** As messages call it: without directories. */
  readonly name: string
  /** Of a file of this machine, from where the user is: as other tools find it. */
  readonly path?: string
  readonly text: string
  /** Text of the ignore file; empty when there is none. */
  readonly ignore: string
}

export interface DockerfilePlace {
  readonly contextName: ContextName
  readonly context: ContextDirectory
  /** The value of --file. */
  readonly file: string | undefined
  readonly stdin: () => Readable
  /** Reads a text from the network. */
  readonly fetch: (url: string) => Promise<string>
}

/** Throws a usage error for a context that is not there, or that would be read twice. */
export function assertContext(context: ContextName, file: string | undefined): void {
  if (context.kind === 'stdin' && file === '-') {
    throw usageError("invalid argument: can't use stdin for both build context and dockerfile")
  }
  if (context.kind !== 'directory') return
  const info = statIfThere(context.path)
  if (info?.isDirectory() === true) return
  const state = info === undefined ? 'is not there' : 'is not a directory'
  throw usageError(`Build context "${printable(context.path)}" ${state}`)
}

/**
 * A URL and an absolute path lead out of every context, as the user says so; any other path leads
 * into a context that is elsewhere, and is one of this machine where the context is. Throws
 * `not-found` in BuildKit's words, and what fetching throws.
 */
export async function readDockerfile(place: DockerfilePlace): Promise<DockerfileInput> {
  const { contextName, context, file, stdin, fetch } = place
  const isLocal = contextName.kind === 'directory'
  if (context.dockerfile !== undefined) {
    if (file === undefined) return { name: 'Dockerfile', text: context.dockerfile, ignore: '' }
    throw usageError(
      'ambiguous Dockerfile source: both the build context and --file are Dockerfiles',
    )
  }
  const elsewhere =
    file === '-' ? () => readAll(stdin()) : isUrl(file) ? () => fetch(file) : undefined
  if (elsewhere !== undefined) {
    const ignore = isLocal ? await readIgnore(context.path, undefined) : ''
    return { name: 'Dockerfile', text: await elsewhere(), ignore }
  }
  if (isLocal) return await readLocal(context.path, file)
  return file !== undefined && isAbsolute(file)
    ? { ...(await readFileOfUser(file)), ignore: '' }
    : readRemote(context.path, file)
}

function isUrl(file: string | undefined): file is string {
  return file !== undefined && /^https?:\/\//i.test(file)
}

async function readLocal(context: string, file: string | undefined): Promise<DockerfileInput> {
  const path = file ?? defaultDockerfile(context)
  const found = await readFileOfUser(path)
  return { ...found, ignore: await readIgnore(context, path) }
}

/** Of any kind that can be read, such as a pipe of the shell's: `-f <(program)`. */
async function readFileOfUser(path: string): Promise<Omit<DockerfileInput, 'ignore'>> {
  const info = statIfThere(path)
  if (info === undefined) throw notFound(path)
  if (info.isDirectory()) {
    throw new OciError(
      'invalid',
      `failed to read dockerfile: read ${printable(path)}: is a directory`,
      { hint: 'name the Dockerfile in it with -f FILE' },
    )
  }
  if (info.size > maxDockerfile) throw tooLarge(`"${printable(path)}"`)
  // Only a pipe is waited for.
  const text = info.isFile() ? readFileSync(path, 'utf8') : await readFile(path, 'utf8')
  return { name: basename(path), path: relative('.', path), text }
}

/** `Dockerfile`, or `dockerfile` where only that is there. */
function defaultDockerfile(context: string): string {
  for (const name of ['Dockerfile', 'dockerfile']) {
    const path = join(context, name)
    if (statIfThere(path) !== undefined) return path
  }
  return join(context, 'Dockerfile')
}

/**
 * Inside the context: a link in what somebody else made must not show a file of this machine. Such
 * contexts are taken whole: no .dockerignore applies (X07).
 */
function readRemote(context: string, file: string | undefined): DockerfileInput {
  using root = openRoot({ kind: 'directory', path: context, readOnly: true })
  const names = file === undefined ? ['Dockerfile', 'dockerfile'] : [file]
  const found = names.find(name => leadsSomewhere(root, name))
  if (found === undefined) throw notFound(file ?? 'Dockerfile')
  const text = root.readFile(found, maxDockerfile).toString('utf8')
  return { name: basename(found), text, ignore: '' }
}

/** Links that lead in a circle lead nowhere. */
function leadsSomewhere(root: Root, name: string): boolean {
  try {
    return root.exists(name)
  } catch (error) {
    if (hasCode(error, 'invalid')) return false
    throw error
  }
}

function notFound(path: string): OciError {
  return new OciError(
    'not-found',
    `failed to read dockerfile: open ${printable(path)}: no such file or directory`,
    { hint: 'name the Dockerfile with -f FILE' },
  )
}

/** `<Dockerfile>.dockerignore` beside the Dockerfile wins as a whole over that of the context. */
async function readIgnore(context: string, dockerfile: string | undefined): Promise<string> {
  const own =
    dockerfile === undefined
      ? undefined
      : await readIgnoreFile(join(dirname(dockerfile), `${basename(dockerfile)}.dockerignore`))
  return own ?? (await readIgnoreFile(join(context, '.dockerignore'))) ?? ''
}

async function readAll(stdin: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stdin) {
    chunks.push(Buffer.from(chunk))
    size += chunk.length
    if (size > maxDockerfile) {
      throw tooLarge('the Dockerfile')
    }
  }
  return Buffer.concat(chunks).toString('utf8')
}

function tooLarge(what: string): OciError {
  return new OciError('too-large', `Cannot read ${what}: more than ${maxDockerfile} bytes`)
}
