/**
 * GitRepositories: commits and checkouts of the repositories that a build reads (C29, K06).
 *
 * A ref is resolved to its commit first, which is what cache keys are made of; only a step that runs
 * fetches anything. All that is fetched lies in one directory that is gone when the build ends.
 */
import { existsSync } from 'node:fs'
import { lutimes, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OwnedDirectory } from '../../layerfs/snapshot/owned-directory.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { GitSource } from '../plan/git-source.ts'
import type { SecretSource } from '../steps/step-world.ts'
import { vertex } from '../vertex.ts'
import { authSettings } from './git-auth.ts'
import { type GitRun, type NamedBy, networkProtocols, runGit } from './git-command.ts'
import { mentionsLfs, pullLargeFiles } from './git-lfs.ts'
import { assertChecksum, assertRef, chooseRef, isCommit, refPatterns } from './git-ref.ts'
import { once } from './once.ts'

export interface GitRequest {
  readonly source: GitSource
  readonly namedBy: NamedBy
  readonly signal: AbortSignal
}

export interface GitCheckout {
  /** The repository's files, with the times that the source asks for; `.git` when it is to be kept. */
  readonly directory: string
  readonly commit: string
  /** When the commit was made, in seconds since 1970. */
  readonly committed: number
}

export interface GitRepositories extends AsyncDisposable {
  /**
   * The commit that the source means. Throws `not-found` when the repository has no such ref,
   * `digest-mismatch` when it is another than the checksum says, and as {@link runGit}.
   */
  resolve(request: GitRequest): Promise<string>
  /** Throws as {@link resolve}. */
  checkout(request: GitRequest): Promise<GitCheckout>
}

export interface GitWorld {
  readonly tempDir: () => Promise<OwnedDirectory>
  readonly variables: GitRun['variables']
  readonly secrets: SecretSource
  readonly emit: EmitBuildEvent
  readonly offline?: boolean
}

export function gitRepositories(world: GitWorld): GitRepositories {
  const commits = new Map<string, Promise<string>>()
  const checkouts = new Map<string, Promise<GitCheckout>>()
  let workspace: Promise<OwnedDirectory> | undefined
  const directory = async () => {
    workspace ??= world.tempDir()
    return (await workspace).path
  }
  const resolve = (request: GitRequest) =>
    once(commits, keyOf(request), async () => resolveCommit(request, world, await directory()))
  return {
    resolve,
    checkout: request =>
      once(checkouts, keyOf(request), async () => {
        const commit = await resolve(request)
        const place = join(await directory(), String(checkouts.size))
        return await checkOut(request, world, { commit, directory: place })
      }),
    [Symbol.asyncDispose]: async () => {
      await (await workspace)?.[Symbol.asyncDispose]()
    },
  }
}

function keyOf({ source, namedBy }: GitRequest): string {
  return JSON.stringify([namedBy, source])
}

/** A repository for messages: without user and password. */
export function shownRemote(remote: string): string {
  return printable(remote.replace(/\/\/[^/]*@/, '//'))
}

async function gitRun(
  { source, namedBy, signal }: GitRequest,
  { variables, secrets, offline }: GitWorld,
  directory: string,
): Promise<GitRun> {
  const { remote } = source
  const isFile = namedBy === 'user' && remote.startsWith('file://')
  if (offline === true && !isFile) {
    throw new OciError(
      'unavailable',
      `Cannot read git repository "${shownRemote(remote)}": no network is to be used (--offline)`,
      { hint: 'Name a commit, and build once without --offline' },
    )
  }
  return {
    action: `read git repository "${shownRemote(remote)}"`,
    directory,
    protocols: isFile ? ['file'] : networkProtocols,
    namedBy,
    settings: [['remote.origin.url', remote], ...(await authSettings(remote, secrets))],
    variables,
    signal,
  }
}

async function resolveCommit(
  request: GitRequest,
  world: GitWorld,
  directory: string,
): Promise<string> {
  const { ref, checksum, fetchByCommit, remote } = request.source
  const commit = fetchByCommit === true ? checksum : ref
  if (commit !== undefined && isCommit(commit)) {
    if (checksum !== undefined) assertChecksum(checksum, { commit })
    return commit
  }
  if (ref !== undefined) assertRef(ref)
  const run = await gitRun(request, world, directory)
  const output = await runGit(['ls-remote', '--quiet', 'origin', ...refPatterns(ref)], run)
  const found = chooseRef(output, ref)
  if (found === undefined) {
    throw new OciError(
      'not-found',
      `repository does not contain ref ${printable(ref ?? 'HEAD')}: "${shownRemote(remote)}"`,
    )
  }
  if (checksum !== undefined) assertChecksum(checksum, found)
  return found.commit
}

async function checkOut(
  request: GitRequest,
  world: GitWorld,
  { commit, directory }: { readonly commit: string; readonly directory: string },
): Promise<GitCheckout> {
  const { remote, keepGitDir, submodules, mtime, lfs } = request.source
  return await vertex(`${shownRemote(remote)} at ${commit}`, world.emit, async () => {
    await mkdir(directory, { mode: 0o755 })
    const run = await gitRun(request, world, directory)
    const git = (...args: readonly string[]) => runGit(args, run)
    await git('init', '--quiet', '--template=')
    await fetchCommit(commit, run)
    await git('checkout', '--quiet', '--force', '--detach', commit)
    const committed = Number(await git('show', '--no-patch', '--format=%ct', 'HEAD'))
    if (lfs === true) await pullLargeFiles(remote, run)
    else if (lfs === undefined && (await mentionsLfs(directory))) {
      const message = `"${shownRemote(remote)}" has files in git-lfs, of which only pointers are read: append ?lfs=true to the URL for their content`
      world.emit({ kind: 'warning', message })
    }
    if (submodules !== false) {
      const update = ['submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1']
      await runGit(update, { ...run, protocols: networkProtocols })
    }
    if (keepGitDir === true) await git('config', 'remote.origin.url', shownRemote(remote))
    else await removeGitDirs(directory)
    if (mtime === 'commit') await setTimes(directory, committed)
    return { directory, commit, committed }
  })
}

/** That commit alone if the server gives it out; else all branches and tags. */
async function fetchCommit(commit: string, run: GitRun): Promise<void> {
  const fetch = ['fetch', '--quiet', '--force', '--no-tags']
  try {
    await runGit([...fetch, '--depth=1', 'origin', commit], run)
  } catch (error) {
    if (!(error instanceof OciError) || error.code !== 'unavailable') throw error
    const everything = ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*']
    await runGit([...fetch, 'origin', ...everything], run)
  }
}

/** Of everything in it, links themselves included; a directory's own comes after what is in it. */
async function setTimes(directory: string, seconds: number): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) await setTimes(path, seconds)
    else await lutimes(path, seconds, seconds)
  }
  await lutimes(directory, seconds, seconds)
}

/** No tracked file is called so: git refuses to. */
async function removeGitDirs(directory: string): Promise<void> {
  await rm(join(directory, '.git'), { recursive: true, force: true })
  if (!existsSync(join(directory, '.gitmodules'))) return
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.name !== '.git') continue
    await rm(join(entry.parentPath, entry.name), { recursive: true, force: true })
  }
}
