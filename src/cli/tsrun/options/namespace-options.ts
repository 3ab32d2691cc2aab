/** Whose namespaces a container is in: `--network`, `--pid` and `--ipc` as docker spells them. */

import { findContainer, listContainers } from '../../../layerfs/runtime/container-list.ts'
import { firstProcess } from '../../../layerfs/runtime/container-processes.ts'
import type { ContainerOptions } from '../../../layerfs/runtime/container-spec.ts'
import { readJoinRecord } from '../../../layerfs/runtime/join-record.ts'
import type { JoinedNamespace, NetworkMode, SandboxSpec } from '../../../layerfs/sandbox/spec.ts'
import type { Store } from '../../../layerfs/store.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import type { RunFlags } from './run-flags.ts'

type ModeFlags = Pick<RunFlags, 'network' | 'pid' | 'ipc' | 'uts'>

const kinds = ['network', 'pid', 'ipc'] as const

/** What each flag takes beside `container:NAME`. */
const modes: Readonly<Record<(typeof kinds)[number], readonly string[]>> = {
  network: ['bridge', 'default', 'host', 'none'],
  pid: ['host', 'private', ''],
  ipc: ['host', 'private', 'shareable', ''],
}

/** The container that the flag names, if it does. Throws a usage error that quotes the value. */
function containerOf(kind: (typeof kinds)[number], flags: ModeFlags): string | undefined {
  const text = flags[kind]
  if (modes[kind].includes(text)) return undefined
  const [, name] = /^container:(.+)$/.exec(text) ?? []
  if (name !== undefined) return name
  const known = modes[kind].filter(mode => mode !== '' && mode !== 'default').join(', ')
  throw usageError(
    `Cannot use flag --${kind}: expected ${known} or container:NAME, found "${printable(text)}"`,
    kind === 'network' ? 'Networks of one’s own are not supported yet' : undefined,
  )
}

export function networkMode(flags: ModeFlags): NetworkMode {
  if (containerOf('network', flags) !== undefined) return 'container'
  return flags.network === 'default' ? 'bridge' : (flags.network as NetworkMode)
}

/** Those that are the machine's. */
export function sharedNamespaces(flags: ModeFlags): NonNullable<SandboxSpec['shared']> {
  for (const kind of kinds) containerOf(kind, flags)
  return (['ipc', 'pid', 'uts'] as const).filter(name => flags[name] === 'host')
}

/**
 * With the namespaces of other containers. In another's network a container has its name, too.
 * Throws `not-found`, and `conflict` for one that does not run.
 */
export async function withJoined(
  options: ContainerOptions,
  flags: ModeFlags,
  store: Store,
): Promise<ContainerOptions> {
  const named = kinds.flatMap(kind => {
    const name = containerOf(kind, flags)
    return name === undefined ? [] : [{ kind, name }]
  })
  if (named.length === 0) return options
  const all = await listContainers(store.containers)
  const joined = named.map(({ kind, name }): JoinedNamespace => {
    return { kind, pid: firstProcess(findContainer(all, name), `share the ${words[kind]} of`) }
  })
  const network = named.find(({ kind }) => kind === 'network')
  const extras = { ...options.extras, joined }
  if (network === undefined) return { ...options, extras }
  const { path, record } = findContainer(all, network.name)
  const { hostname } = readJoinRecord(path)
  const address = record?.address
  return {
    ...options,
    extras,
    ...(hostname === undefined ? {} : { hostname }),
    ...(hostname === undefined || address === undefined
      ? {}
      : { extraHosts: [{ name: hostname, address }, ...options.extraHosts] }),
  }
}

const words = { network: 'network', pid: 'processes', ipc: 'memory' } as const
