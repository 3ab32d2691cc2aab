/**
 * Running the git program on repositories that nobody vouches for.
 *
 * 1. Nothing of the machine's or the user's git configuration, hooks, credentials or prompts is used.
 * 2. Configuration goes through the environment: a URL's password and a token are on no command line.
 * 3. Which protocols may be spoken depends on who named the repository. `file` is for the user
 *    alone: a Dockerfile must not read repositories of this machine, nor a submodule.
 * 4. Keys of the user's SSH are offered only to hosts that the user named.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { dirname } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'

/** A name of git's configuration and its value. */
export type GitSetting = readonly [name: string, value: string]

/** On whose word a repository is read. */
export type NamedBy = 'user' | 'dockerfile'

export interface GitRun {
  /** What is being done, for `Cannot …` messages. */
  readonly action: string
  /** Where git runs, and `$HOME`. Above it no repository is looked for. */
  readonly directory: string
  readonly protocols: readonly ('file' | 'git' | 'http' | 'https' | 'ssh')[]
  readonly namedBy: NamedBy
  readonly settings: readonly GitSetting[]
  /** The user's environment, of which proxies, certificates, PATH and the SSH agent are used. */
  readonly variables: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

export const networkProtocols = ['git', 'http', 'https', 'ssh'] as const

/**
 * What git prints. Throws `unavailable` with git's own words; `unsupported` where there is no git;
 * `too-large` when it prints without end; the signal's reason, once git is gone.
 */
export async function runGit(args: readonly string[], run: GitRun): Promise<string> {
  run.signal.throwIfAborted()
  // A repository's files are 644 and 755 whatever the umask of who builds (C29).
  const child = spawn('/bin/sh', ['-c', 'umask 022; exec git "$@"', 'git', ...args], {
    cwd: run.directory,
    env: environment(run),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that git's helpers end with it.
    detached: true,
  })
  const stop = () => killGroup(child)
  run.signal.addEventListener('abort', stop, { once: true })
  try {
    return await outputOf(child, run)
  } finally {
    run.signal.removeEventListener('abort', stop)
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It ended by itself meanwhile.
  }
}

/** More than any repository has refs; a server that sends more is up to no good. */
const maxOutput = 64 * 1024 * 1024
const maxComplaint = 64 * 1024

async function outputOf(child: ChildProcess, run: GitRun): Promise<string> {
  const output: Buffer[] = []
  let size = 0
  let complaint = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > maxOutput) killGroup(child)
    else output.push(chunk)
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = `${complaint}${chunk.toString('utf8')}`.slice(-maxComplaint)
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', reject)
  })
  run.signal.throwIfAborted()
  if (size > maxOutput) {
    throw new OciError('too-large', `Cannot ${run.action}: git printed over ${maxOutput} bytes`)
  }
  if (code === 0) return Buffer.concat(output).toString('utf8')
  throw failure(run.action, code, complaint)
}

function failure(action: string, code: number | null, complaint: string): OciError {
  if (code === 127) {
    return new OciError('unsupported', `Cannot ${action}: there is no program "git"`, {
      hint: 'install it (Debian: apt-get install git)',
    })
  }
  return new OciError(
    'unavailable',
    `Cannot ${action}: ${reasonIn(complaint) ?? `git ended with ${code}`}`,
  )
}

/** Git's own words, without passwords of URLs. */
function reasonIn(complaint: string): string | undefined {
  const lines = complaint.split(/\r?\n/).filter(line => line.trim() !== '')
  const reasons = lines.filter(line => /^(fatal|error|remote|ERROR|ssh):/.test(line))
  const told = (reasons.length === 0 ? lines : reasons).slice(0, 3).join('; ')
  return told === '' ? undefined : printable(told.replace(/\/\/[^/\s]*@/g, '//'), 500)
}

const fixedPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const passedOn = [
  ...['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'],
  ...['HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'],
] as const

/** An idle server is given up after a minute; a slow one is no error. */
const fixedSettings: readonly GitSetting[] = [
  ['advice.detachedHead', 'false'],
  ['core.autocrlf', 'false'],
  ['core.fsmonitor', 'false'],
  ['core.hooksPath', '/dev/null'],
  ['fetch.recurseSubmodules', 'false'],
  ['gc.auto', '0'],
  ['http.lowSpeedLimit', '1'],
  ['http.lowSpeedTime', '60'],
  ['init.defaultBranch', 'main'],
  ['maintenance.auto', 'false'],
  ['protocol.version', '2'],
]

function environment(run: GitRun): Record<string, string> {
  const { variables, directory, protocols } = run
  const { PATH = fixedPath, SSL_CERT_FILE: certificates } = variables
  const settings = [...fixedSettings, ...run.settings]
  return {
    ...pick(variables, passedOn),
    ...(run.namedBy === 'user' ? pick(variables, ['SSH_AUTH_SOCK']) : {}),
    ...(certificates === undefined ? {} : { GIT_SSL_CAINFO: certificates }),
    PATH,
    HOME: directory,
    LC_ALL: 'C',
    GIT_ALLOW_PROTOCOL: protocols.join(':'),
    GIT_CEILING_DIRECTORIES: dirname(directory),
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_SSH_COMMAND: sshCommand(run.namedBy),
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_COUNT: String(settings.length),
    ...Object.fromEntries(
      settings.flatMap(([name, value], index) => [
        [`GIT_CONFIG_KEY_${index}`, name],
        [`GIT_CONFIG_VALUE_${index}`, value],
      ]),
    ),
  }
}

function pick(variables: GitRun['variables'], names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap(name => {
      const value = variables[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

function sshCommand(namedBy: NamedBy): string {
  const always = 'ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15'
  if (namedBy === 'user') return always
  return `${always} -F none -o IdentityFile=none -o IdentityAgent=none`
}
