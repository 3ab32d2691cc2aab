import { readFileSync } from 'node:fs'
import { execInContainer } from '../../layerfs/oci-runtime/exec.ts'
import { type ProcessConfig, parseProcess } from '../../layerfs/oci-runtime/process-config.ts'
import { capabilitySet } from '../../layerfs/runtime/capability-set.ts'
import { usageError } from '../cli-error.ts'
import type { FlagTable, FlagValues } from '../flags/flags.ts'
import { forwardSignals } from './forward-signals.ts'
import { preserved, processFlags } from './process-flags.ts'
import { defineRuntimeCommand, type RuntimeCommand } from './runtime-command.ts'

const execFlags = {
  process: { kind: 'string', short: 'p', value: 'FILE', help: 'Process to run, as in config.json' },
  detach: { kind: 'boolean', short: 'd', help: 'Do not wait for its end' },
  ...processFlags,
  tty: { kind: 'boolean', short: 't', help: 'Give it a terminal' },
  cwd: { kind: 'string', value: 'DIR', help: 'Directory it starts in' },
  env: { kind: 'strings', short: 'e', value: 'NAME=VALUE', help: 'Set a variable' },
  user: { kind: 'string', short: 'u', value: 'UID[:GID]', help: 'Ids to run as' },
  'additional-gids': { kind: 'strings', short: 'g', value: 'GID', help: 'Further groups' },
  cap: { kind: 'strings', short: 'c', value: 'NAME', help: 'Add a capability' },
  'no-new-privs': { kind: 'boolean', help: 'Nothing it executes may get more rights' },
} as const satisfies FlagTable

export const execCommand: RuntimeCommand = defineRuntimeCommand({
  flags: execFlags,
  unsupported: {
    'process-label': { reason: 'There are no SELinux labels' },
    apparmor: { reason: 'There are no AppArmor profiles' },
    cgroup: { reason: 'It joins the cgroup of the container' },
    'ignore-paused': {},
    'no-subreaper': {},
    'pidfd-socket': {},
  },
  positionals: 'first-ends-flags',
  arity: { min: 1, max: 100_000 },
  run: async ({ root, id, flags, args }) => {
    const words = args.slice(1)
    if (flags.process === undefined && words.length === 0) {
      throw usageError('There is nothing to run: give --process or a command')
    }
    using signals = forwardSignals()
    const pidFile = flags['pid-file']
    const consoleSocket = flags['console-socket']
    const { exit } = await execInContainer({
      root,
      id,
      process: own =>
        flags.process === undefined
          ? processOf(own, words, flags)
          : parseProcess(readFileSync(flags.process)),
      isDetached: flags.detach,
      preserved: preserved(flags['preserve-fds']),
      ...(pidFile === undefined ? {} : { pidFile }),
      ...(consoleSocket === undefined ? {} : { consoleSocket }),
      onStarted: (_, handle) => {
        if (!flags.detach) signals.to(handle)
      },
    })
    return exit?.code ?? 0
  },
})

/** What the flags say over what the container's own process is. */
function processOf(
  own: ProcessConfig,
  args: readonly string[],
  flags: FlagValues<typeof execFlags>,
): ProcessConfig {
  const { consoleSize: _, ...rest } = own
  const { umask } = own.user
  return {
    ...rest,
    args,
    terminal: flags.tty,
    env: [...own.env, ...flags.env],
    cwd: flags.cwd ?? own.cwd,
    user: {
      ...(flags.user === undefined ? own.user : { ...idsOf(flags.user), additionalGids: [] }),
      ...(flags['additional-gids'].length === 0
        ? {}
        : { additionalGids: flags['additional-gids'].map(idOf) }),
      ...(umask === undefined ? {} : { umask }),
    },
    noNewPrivileges: own.noNewPrivileges || flags['no-new-privs'],
    ...withCapabilities(own, flags.cap),
  }
}

function idsOf(text: string): { readonly uid: number; readonly gid: number } {
  const [uid = '', gid = '0', ...more] = text.split(':')
  if (more.length > 0)
    throw usageError(`Flag --user: expected UID[:GID], got ${JSON.stringify(text)}`)
  return { uid: idOf(uid), gid: idOf(gid) }
}

/** Digits only: what else a number can be written as is no id (CVE-2026-30892). */
function idOf(text: string): number {
  const id = Number(text)
  if (/^\d{1,10}$/.test(text) && id < 0xffff_ffff) return id
  throw usageError(`Expected an id from 0 to 4294967294, got ${JSON.stringify(text)}`)
}

function withCapabilities(
  { capabilities }: ProcessConfig,
  added: readonly string[],
): Pick<ProcessConfig, 'capabilities'> {
  if (capabilities === undefined && added.length === 0) return {}
  const add = (set: readonly string[]) => capabilitySet(set, { capAdd: added, capDrop: [] })
  const { bounding = [], effective = [], permitted = [] } = capabilities ?? {}
  const { inheritable = [], ambient = [] } = capabilities ?? {}
  return {
    capabilities: {
      bounding: add(bounding),
      effective: add(effective),
      permitted: add(permitted),
      inheritable,
      ambient,
    },
  }
}
