/**
 * Files that a repository keeps in git-lfs: of the commit they are pointers of some lines, until
 * their content is fetched from beside the repository, by the sha256 that the pointer says.
 *
 * Nothing that the repository itself says about where that is (`.lfsconfig`) is used: it would be
 * free to name any place that this machine can reach.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { type GitRun, type GitSetting, runGit } from './git-command.ts'

/** Whether files of the checkout may be pointers, as its own attributes tell. */
export async function mentionsLfs(directory: string): Promise<boolean> {
  const attributes = await readFile(join(directory, '.gitattributes'), 'utf8').catch(absent)
  return /^[^#\n]*\sfilter=lfs\b/m.test(attributes)
}

function absent(error: unknown): string {
  if (hasCode(error, 'ENOENT') || hasCode(error, 'EISDIR') || hasCode(error, 'ELOOP')) return ''
  throw error
}

/**
 * Puts the content in the place of every pointer of the checkout, submodules aside. Throws
 * `unsupported` without git-lfs, and as {@link runGit}.
 */
export async function pullLargeFiles(remote: string, run: GitRun): Promise<void> {
  const settings = [...run.settings, ...filters, ['lfs.url', lfsUrl(remote)] as const]
  await runGit(['lfs', 'version'], run).catch((error: unknown) => {
    run.signal.throwIfAborted()
    throw new OciError('unsupported', `Cannot ${run.action}: there is no program "git-lfs"`, {
      cause: error,
      hint: 'install it (Debian: apt-get install git-lfs)',
    })
  })
  await runGit(['lfs', 'pull'], { ...run, settings })
}

/** It touches no checkout that does not seem to be set up for it. */
const filters: readonly GitSetting[] = [
  ['filter.lfs.clean', 'git-lfs clean -- %f'],
  ['filter.lfs.smudge', 'git-lfs smudge -- %f'],
  ['filter.lfs.process', 'git-lfs filter-process'],
]

/** As git-lfs itself derives it from a remote. */
function lfsUrl(remote: string): string {
  if (!/^https?:/i.test(remote)) return remote
  const url = remote.replace(/\/+$/, '')
  return `${url.endsWith('.git') ? url : `${url}.git`}/info/lfs`
}
