/**
 * Running without root: this program again, as root of a user namespace, where the same code makes
 * the same mounts and files as root does, with the ids that the user may have.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants as fileConstants, readFileSync } from 'node:fs'
import { constants, userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { nativePath } from '../layerfs/native/native-programs.ts'
import { idMap, subordinateIds } from '../layerfs/sandbox/id-maps.ts'
import { hasCode, OciError } from '../oci/errors.ts'
import type { CliContext } from './command.ts'

/**
 * The exit code of the same command line, run as root of a new user namespace. Throws `unsupported`,
 * naming what keeps this machine's users from making one.
 */
export async function runAsNamespaceRoot(context: CliContext): Promise<number> {
  assertUserNamespaces()
  const { environment, interrupts } = context
  const { uid, gid } = idMaps(environment.lookup('PATH') ?? '')
  const self = [process.execPath, ...process.execArgv, '--', ...process.argv.slice(1)]
  const child = spawn(nativePath('sandbox'), ['user-namespace', uid, gid, ...self], {
    stdio: 'inherit',
    // Root's own place is another user's.
    env: { ...environment.variables, TSBUILD_ROOT: environment.root },
  })
  // The keys of a terminal reach it without us.
  const isTerminal = context.stdin().isTTY === true
  using _forwarding = interrupts.forwardTo(signal => {
    if (!(isTerminal && signal === 'SIGINT')) child.kill(signal)
  }, forwarded)
  return await new Promise((resolve, reject) => {
    child.once('error', cause => {
      reject(new OciError('unsupported', 'Cannot start the native program', { cause }))
    })
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })
}

const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
]

/** Settings by which machines keep users from making namespaces, and the value that does. */
const obstacles: readonly { file: string; value: string; hint: string }[] = [
  {
    file: '/proc/sys/kernel/unprivileged_userns_clone',
    value: '0',
    hint: 'Set the sysctl kernel.unprivileged_userns_clone to 1, or use sudo',
  },
  {
    file: '/proc/sys/user/max_user_namespaces',
    value: '0',
    hint: 'Raise the sysctl user.max_user_namespaces, or use sudo',
  },
  {
    file: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    value: '1',
    hint: 'Set the sysctl kernel.apparmor_restrict_unprivileged_userns to 0, or use sudo',
  },
]

/** Throws `unsupported`, naming the setting and what to do about it. */
export function assertUserNamespaces(read: (file: string) => string = readOrNothing): void {
  for (const { file, value, hint } of obstacles) {
    if (read(file).trim() !== value) continue
    const setting = file.replace('/proc/sys/', '').replaceAll('/', '.')
    throw new OciError(
      'unsupported',
      `Cannot run without root: ${setting} is ${value} on this machine`,
      { hint },
    )
  }
}

/** Empty without the tools or the ranges: then root has the user's own ids alone. */
function idMaps(path: string): { readonly uid: string; readonly gid: string } {
  const { uid, gid } = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
  const user = { name: userName(), id: uid }
  const uids = subordinateIds(readOrNothing('/etc/subuid'), user)
  const gids = subordinateIds(readOrNothing('/etc/subgid'), user)
  const hasTools = ['newuidmap', 'newgidmap'].every(tool => isOnPath(tool, path))
  if (!hasTools || uids.length === 0 || gids.length === 0) return { uid: '', gid: '' }
  return { uid: idMap(uid, uids), gid: idMap(gid, gids) }
}

function userName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    // An id that no account has.
    return undefined
  }
}

function isOnPath(tool: string, path: string): boolean {
  return path.split(delimiter).some(directory => {
    try {
      accessSync(join(directory, tool), fileConstants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')) return ''
    throw error
  }
}
