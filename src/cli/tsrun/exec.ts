import { resolve } from 'node:path/posix'
import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { execInContainer } from '../../layerfs/runtime/exec-in-container.ts'
import { openStore } from '../../layerfs/store.ts'
import { CliError, exitCodes, usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { forwarded, signalRelay } from '../oci/forward-signals.ts'
import { environmentOf } from './options/container-options.ts'
import { runFlags } from './options/run-flags.ts'
import { exitCodeOf } from './run.ts'

export const execCommand: Command = defineCommand({
  name: 'exec',
  usage: '[FLAGS] CONTAINER COMMAND [ARGUMENTS]',
  summary: 'Run another command in a container that runs',
  examples: ['exec -it web sh', 'exec -u root -w /tmp web env'],
  flags: {
    interactive: runFlags.interactive,
    tty: { ...runFlags.tty, help: 'Give the command a terminal' },
    detach: { kind: 'boolean', short: 'd', help: 'Do not wait for its end' },
    env: runFlags.env,
    'env-file': runFlags['env-file'],
    workdir: runFlags.workdir,
    user: runFlags.user,
    privileged: { kind: 'boolean', help: 'All capabilities, and the system calls they open' },
  },
  unsupported: { 'detach-keys': {} },
  positionals: 'first-ends-flags',
  arity: { min: 2 },
  exitCodeOf,
  run: async ({ flags, args: [name = '', ...argv], ...context }) => {
    if (flags.tty && flags.detach) {
      throw usageError('Cannot give a detached command a terminal')
    }
    if (flags.tty && context.stdin().isTTY !== true) {
      throw new CliError(exitCodes.usage, 'The input device is not a TTY', {
        hint: 'Leave --tty out when standard input is no terminal',
      })
    }
    await using store = await openStore(context.environment.root)
    store.letGo()
    const container = findContainer(await listContainers(store.containers), name)
    const { user, workdir, detach } = flags
    const signals = signalRelay()
    using _forwarding = context.interrupts.forwardTo(signals.take, forwarded)
    const { exit } = await execInContainer(container, {
      argv,
      env: await environmentOf(flags, context.environment.lookup),
      terminal: flags.tty,
      privileged: flags.privileged,
      stdio: detach ? 'none' : flags.interactive ? 'inherit' : 'no-input',
      detached: detach,
      ...(user === undefined ? {} : { user }),
      ...(workdir === undefined ? {} : { cwd: resolve('/', workdir) }),
      onStarted: handle => {
        if (!detach) signals.to(handle)
      },
    })
    return exit?.code ?? 0
  },
})
