/** Finding and reading the Dockerfile and the .dockerignore that belong to a build (X01, X03). */
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

export interface DockerfileInput {
  /** As messages call it: relative to where the user is. */
  readonly name: string
  readonly text: string
  /** Text of the ignore file; empty when there is none. */
  readonly ignore: string
}

/** A Dockerfile is a program, not a data file: longer ones are a mistake. */
const maxSize = 16 * 1024 * 1024

/** `file`: the value of --file. Throws `not-found` in BuildKit's words. */
export async function readDockerfile(
  context: string,
  file: string | undefined,
  stdin: Readable,
): Promise<DockerfileInput> {
  await assertDirectory(context)
  if (file === '-') {
    const text = await readAll(stdin)
    return { name: 'Dockerfile', text, ignore: await readIgnore(context, undefined) }
  }
  const path = file ?? (await defaultDockerfile(context))
  const text = await readText(path)
  if (text === undefined) {
    throw new OciError(
      'not-found',
      `failed to read dockerfile: open ${printable(path)}: no such file or directory`,
      { hint: 'name the Dockerfile with -f FILE' },
    )
  }
  return { name: basename(path), text, ignore: await readIgnore(context, path) }
}

async function assertDirectory(context: string): Promise<void> {
  if (context === '-' || /^(https?|git|ssh):\/\/|^git@/.test(context)) {
    throw usageError(`Build context "${printable(context)}" is not supported yet: give a directory`)
  }
  const info = await stat(context).catch(missing)
  if (info?.isDirectory() === true) return
  throw usageError(`Build context "${printable(context)}" is not a directory`)
}

/** `Dockerfile`, or `dockerfile` where only that is there. */
async function defaultDockerfile(context: string): Promise<string> {
  for (const name of ['Dockerfile', 'dockerfile']) {
    const path = join(context, name)
    if ((await stat(path).catch(missing)) !== undefined) return path
  }
  return join(context, 'Dockerfile')
}

/** `<Dockerfile>.dockerignore` beside the Dockerfile wins as a whole over that of the context. */
async function readIgnore(context: string, dockerfile: string | undefined): Promise<string> {
  const own =
    dockerfile === undefined
      ? undefined
      : await readText(join(dirname(dockerfile), `${basename(dockerfile)}.dockerignore`))
  return own ?? (await readText(join(context, '.dockerignore'))) ?? ''
}

async function readText(path: string): Promise<string | undefined> {
  const info = await stat(path).catch(missing)
  if (info === undefined) return undefined
  if (info.size > maxSize) {
    throw new OciError(
      'too-large',
      `Cannot read "${printable(path)}": larger than ${maxSize} bytes`,
    )
  }
  return await readFile(path, 'utf8')
}

async function readAll(stdin: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stdin) {
    chunks.push(Buffer.from(chunk))
    size += chunk.length
    if (size > maxSize) {
      throw new OciError('too-large', `Cannot read the Dockerfile: more than ${maxSize} bytes`)
    }
  }
  return Buffer.concat(chunks).toString('utf8')
}

function missing(error: unknown): undefined {
  if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined
  throw error
}
