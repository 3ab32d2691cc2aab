import { constants } from 'node:os'
import { type ContainerRequest, runContainer } from '../../layerfs/runtime/run-container.ts'
import type { RunningSandbox } from '../../layerfs/sandbox/run.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { CliError, exitCodes } from '../cli-error.ts'
import type { CliContext, Invocation } from '../command.ts'
import { provideImage, provideLayers, type WantedImage } from '../image/provide-image.ts'
import { assertRoot } from '../privileges.ts'
import { containerOptions } from './container-options.ts'
import type { RunFlags, runFlags } from './run-flags.ts'

/** `tsrun run`, its flags parsed: the container's exit code. Throws what keeps it from starting. */
export async function runImage(invocation: Invocation<typeof runFlags>): Promise<number> {
  const {
    flags,
    args: [imageName = '', ...command],
    ...context
  } = invocation
  assertRoot('run a container')
  assertTerminal(flags, context)
  const options = await containerOptions(flags, command, context.environment.lookup)
  await using store = await openStore(context.environment.root)
  const wanted = wantedImage(imageName, flags)
  const image = await provideImage(store, wanted, context)
  const request: ContainerRequest = {
    image: {
      name: imageName,
      id: image.config.digest,
      chain: await provideLayers(store, image, { wanted, context }),
      config: image.config.value.config,
    },
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    lifetime: flags.rm ? 'removed-at-end' : 'kept',
    options,
  }
  return await runInForeground(store, request, { flags, context })
}

function wantedImage(name: string, { platform, pull, quiet }: RunFlags): WantedImage {
  return { name, platform, pull, progress: quiet ? 'quiet' : 'auto' }
}

/** As docker says it. */
function assertTerminal(flags: RunFlags, { stdin }: CliContext): void {
  if (flags.tty && stdin.isTTY !== true) {
    throw new CliError(exitCodes.usage, 'The input device is not a TTY', {
      hint: 'Leave --tty out when standard input is no terminal',
    })
  }
}

interface Foreground {
  readonly flags: RunFlags
  readonly context: CliContext
}

async function runInForeground(
  store: Store,
  request: ContainerRequest,
  { flags, context }: Foreground,
): Promise<number> {
  context.signal.throwIfAborted()
  const stop = new AbortController()
  const signals = new SignalForwarder(context.stderr, stop)
  using _forwarding = context.interrupts.forwardTo(signal => signals.take(signal), forwarded)
  const status = await runContainer(store, request, {
    stdin: flags.interactive ? 'inherit' : 'null',
    output: 'inherit',
    signal: stop.signal,
    now: () => new Date(),
    onStarted: handle => signals.start(handle),
  })
  if (status.outOfMemory) {
    context.stderr.write('The container reached its memory limit and was killed\n')
  }
  return status.code
}

const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
]

/**
 * Hands signals on to the container; those that come while it starts, as soon as it has. Its first
 * process ignores what it does not handle, so the third request to stop kills it.
 */
class SignalForwarder {
  readonly #stderr: CliContext['stderr']
  readonly #stop: AbortController
  readonly #waiting: NodeJS.Signals[] = []
  #handle: RunningSandbox | undefined
  #requests = 0

  constructor(stderr: CliContext['stderr'], stop: AbortController) {
    this.#stderr = stderr
    this.#stop = stop
  }

  start(handle: RunningSandbox): void {
    this.#handle = handle
    for (const signal of this.#waiting) handle.kill(constants.signals[signal])
  }

  take(signal: NodeJS.Signals): void {
    if (this.#handle === undefined) this.#waiting.push(signal)
    else this.#handle.kill(constants.signals[signal])
    if (signal === 'SIGINT' || signal === 'SIGTERM') this.#countRequest()
  }

  #countRequest(): void {
    this.#requests++
    if (this.#requests === 2) this.#stderr.write('Still running; once more kills the container\n')
    if (this.#requests < 3) return
    if (this.#handle === undefined)
      this.#stop.abort(new CliError(exitCodes.interrupted, 'Canceled'))
    else this.#handle.kill(constants.signals.SIGKILL)
  }
}
