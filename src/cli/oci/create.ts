import { type CreateRequest, createContainer } from '../../layerfs/oci-runtime/create.ts'
import { deleteContainer, startContainer } from '../../layerfs/oci-runtime/lifecycle.ts'
import type { FlagTable } from '../flags/flags.ts'
import { forwardSignals } from './forward-signals.ts'
import { preserved, processFlags } from './process-flags.ts'
import {
  defineRuntimeCommand,
  type RuntimeCommand,
  type RuntimeInvocation,
} from './runtime-command.ts'

const createFlags = {
  bundle: {
    kind: 'string',
    short: 'b',
    value: 'DIR',
    default: '.',
    help: 'Directory with config.json',
  },
  ...processFlags,
} as const satisfies FlagTable

const unsupported = {
  'no-pivot': { reason: 'The root is always changed by pivot_root' },
  'no-new-keyring': { reason: 'The caller’s keys are never the container’s' },
  'pidfd-socket': {},
} as const

function requestOf(
  { root, id, flags }: RuntimeInvocation<typeof createFlags>,
  isDetached: boolean,
): CreateRequest {
  const pidFile = flags['pid-file']
  const consoleSocket = flags['console-socket']
  return {
    root,
    id,
    bundle: flags.bundle,
    preserved: preserved(flags['preserve-fds']),
    isDetached,
    ...(pidFile === undefined ? {} : { pidFile }),
    ...(consoleSocket === undefined ? {} : { consoleSocket }),
  }
}

export const createCommand: RuntimeCommand = defineRuntimeCommand({
  flags: createFlags,
  unsupported,
  arity: { min: 1, max: 1 },
  run: async invocation => {
    await createContainer(requestOf(invocation, true))
    return 0
  },
})

export const runCommand: RuntimeCommand = defineRuntimeCommand({
  flags: {
    ...createFlags,
    detach: { kind: 'boolean', short: 'd', help: 'Do not wait for its end' },
    keep: { kind: 'boolean', help: 'Do not delete it when it ends' },
  },
  unsupported: { ...unsupported, 'no-subreaper': {} },
  arity: { min: 1, max: 1 },
  run: async invocation => {
    const { root, id, flags } = invocation
    if (flags.detach) {
      await createContainer(requestOf(invocation, true))
      await startOrDelete(invocation)
      return 0
    }
    using signals = forwardSignals()
    const { exit } = await createContainer({
      ...requestOf(invocation, false),
      onCreated: async (_, handle) => {
        signals.to(handle)
        await startContainer(root, id)
      },
    })
    if (!flags.keep) await remove(invocation)
    return exit?.code ?? 1
  },
})

async function startOrDelete(
  invocation: Pick<RuntimeInvocation<FlagTable>, 'root' | 'id' | 'warn'>,
) {
  const { root, id } = invocation
  try {
    await startContainer(root, id)
  } catch (error) {
    await remove(invocation)
    throw error
  }
}

async function remove({
  root,
  id,
  warn,
}: Pick<RuntimeInvocation<FlagTable>, 'root' | 'id' | 'warn'>) {
  for (const warning of await deleteContainer(root, id, { force: true })) warn(warning)
}
