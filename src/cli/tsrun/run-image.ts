import { constants } from 'node:os'
import { findImage, type LocalImage, readImage } from '../../layerfs/runtime/local-image.ts'
import { type ContainerRequest, runContainer } from '../../layerfs/runtime/run-container.ts'
import type { RunningSandbox } from '../../layerfs/sandbox/run.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { type ChainId, chainIds } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { type Platform, platformDistance } from '../../oci/platform.ts'
import { parseReference } from '../../oci/reference.ts'
import { CliError, exitCodes } from '../cli-error.ts'
import type { CliContext, Invocation } from '../command.ts'
import { assertRoot } from '../privileges.ts'
import { wantedPlatform } from '../wanted-platform.ts'
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
  const image = await provideImage(store, { name: imageName, flags }, context)
  const request: ContainerRequest = {
    image: {
      name: imageName,
      id: image.config.digest,
      chain: await unpacked(store, image, context.signal),
      config: image.config.value.config,
    },
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    lifetime: flags.rm ? 'removed-at-end' : 'kept',
    options,
  }
  return await runInForeground(store, request, { flags, context })
}

/** As docker says it. */
function assertTerminal(flags: RunFlags, { stdin }: CliContext): void {
  if (flags.tty && stdin.isTTY !== true) {
    throw new CliError(exitCodes.usage, 'The input device is not a TTY', {
      hint: 'Leave --tty out when standard input is no terminal',
    })
  }
}

/** The chain of the image's layers, unpacked first when they are not. */
async function unpacked(
  store: Store,
  { manifest, config }: LocalImage,
  signal: AbortSignal,
): Promise<ChainId | undefined> {
  const chain = chainIds(config.value.rootfs.diff_ids).at(-1)
  if (chain === undefined || (await store.snapshots.find(chain)) !== undefined) return chain
  // Only now, like the registry client: loading code takes longer than the rest of most runs.
  const { unpackImage } = await import('../../layerfs/image/unpack.ts')
  await unpackImage({ manifest: manifest.value, config: config.value }, store, { signal })
  return chain
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

interface WantedImage {
  readonly name: string
  readonly flags: RunFlags
}

/** The image of the store, pulled first as `--pull` says. Throws what finding or pulling throws. */
async function provideImage(
  store: Store,
  { name, flags }: WantedImage,
  context: CliContext,
): Promise<LocalImage> {
  const platform = wantedPlatform(flags.platform)
  const local = flags.pull === 'always' ? undefined : await findLocal(store, name, platform)
  if (local !== undefined && suits(local, flags, platform)) return local
  if (flags.pull === 'never') return findImage(store, name, platform)
  // Only now: most runs find the image, and need no registry client.
  const { openWorld } = await import('../world.ts')
  const { pullIntoStore } = await import('../image/pull-image.ts')
  const reference = parseReference(name)
  await using world = await openWorld(context.environment)
  const progress = flags.quiet ? 'quiet' : 'auto'
  const target = await pullIntoStore(world, { reference, platform, progress }, context)
  return { ...(await readImage(store.content, target, platform)), target, reference }
}

async function findLocal(
  store: Store,
  name: string,
  platform: Platform,
): Promise<LocalImage | undefined> {
  try {
    return await findImage(store, name, platform)
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
}

/** An image for another platform is only taken when nobody asked for one. */
function suits({ config }: LocalImage, flags: RunFlags, platform: Platform): boolean {
  return flags.platform === undefined || platformDistance(platform, config.value) !== undefined
}
