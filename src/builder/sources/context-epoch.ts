/** When a build context was made, for builds that shall come out the same wherever they run. */
import { lstat, readdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { IgnoreMatcher } from '../dockerfile/ignore.ts'
import { runGit } from './git-command.ts'

export interface ContextEpochWorld {
  readonly variables: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

/**
 * Seconds since 1970: of the commit that the directory's repository is at, else of its newest file
 * that `ignore` does not leave out; 0 when there is none.
 */
export async function contextEpoch(
  directory: string,
  ignore: IgnoreMatcher,
  world: ContextEpochWorld,
): Promise<number> {
  const commit = await commitTime(directory, world)
  return commit ?? (await newestFile(directory, '', { ignore, signal: world.signal }))
}

/** `undefined` without a repository, a commit in it, or git. */
async function commitTime(
  directory: string,
  { variables, signal }: ContextEpochWorld,
): Promise<number | undefined> {
  const repository = await repositoryOf(await realpath(directory))
  if (repository === undefined) return undefined
  try {
    // Plumbing: what a repository's own configuration can make `git log` run is not run.
    const commit = await runGit(['cat-file', 'commit', 'HEAD'], {
      action: 'read the commit of the build context',
      directory: repository,
      protocols: [],
      namedBy: 'dockerfile',
      // Whose files they are does not matter: nothing of the repository is run.
      settings: [['safe.directory', '*']],
      variables,
      signal,
    })
    const seconds = /^committer .* (\d{1,12}) [+-]\d{4}$/m.exec(commit.split('\n\n', 1)[0] ?? '')
    return seconds === null ? undefined : Number(seconds[1])
  } catch (error) {
    if (error instanceof OciError) return undefined
    throw error
  }
}

/** The directory, at or above `path`, that has a `.git`. */
async function repositoryOf(path: string): Promise<string | undefined> {
  for (let directory = path; ; directory = dirname(directory)) {
    const found = await lstat(join(directory, '.git')).catch(missing)
    if (found !== undefined) return directory
    if (directory === dirname(directory)) return undefined
  }
}

interface Walk {
  readonly ignore: IgnoreMatcher
  readonly signal: AbortSignal
}

/** Directories do not count: a checkout makes them when it likes. */
async function newestFile(root: string, below: string, walk: Walk): Promise<number> {
  walk.signal.throwIfAborted()
  let newest = 0
  for (const name of await readdir(join(root, below)).catch(none)) {
    const path = below === '' ? name : `${below}/${name}`
    const info = await lstat(join(root, path)).catch(missing)
    if (info?.isDirectory() === true) {
      newest = Math.max(newest, await newestFile(root, path, walk))
    } else if (info !== undefined && !walk.ignore.match(path)) {
      newest = Math.max(newest, Math.floor(info.mtimeMs / 1000))
    }
  }
  return newest
}

/** A file that goes while it is looked for counts for nothing; one that may not be read, too. */
function missing(error: unknown): undefined {
  if (isGone(error)) return undefined
  throw error
}

function none(error: unknown): string[] {
  if (isGone(error)) return []
  throw error
}

function isGone(error: unknown): boolean {
  return (['ENOENT', 'ENOTDIR', 'EACCES'] as const).some(code => hasCode(error, code))
}
