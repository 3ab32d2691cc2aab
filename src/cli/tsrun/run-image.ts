import type { ContainerOptions } from '../../layerfs/runtime/container-spec.ts'
import { type ContainerRequest, makeContainer } from '../../layerfs/runtime/create-container.ts'
import { runContainer } from '../../layerfs/runtime/run-container.ts'
import { startContainer } from '../../layerfs/runtime/start-container.ts'
import type { PublishedPort } from '../../layerfs/sandbox/spec.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { printable } from '../../oci/errors.ts'
import type { RunConfig } from '../../oci/image-config.ts'
import { CliError, exitCodes, usageError } from '../cli-error.ts'
import type { CliContext, Invocation } from '../command.ts'
import { provideImage, provideLayers, type WantedImage } from '../image/provide-image.ts'
import { isolationRuntime } from '../isolation.ts'
import { assertRoot } from '../privileges.ts'
import { type IdFile, openIdFile } from './id-file.ts'
import { containerOptions } from './options/container-options.ts'
import { labelsOf } from './options/label-options.ts'
import { logLimitOf } from './options/log-options.ts'
import { withJoined } from './options/namespace-options.ts'
import { exposedPorts, exposedRange } from './options/publish-options.ts'
import type { containerFlags, RunFlags, runFlags } from './options/run-flags.ts'
import { withVolumesFrom } from './options/volumes-from.ts'
import { forwarded, SignalForwarder, stopRules } from './signal-forwarder.ts'
import { findSignal, signalNumber } from './signal-number.ts'

/** `tsrun run`, its flags parsed: the container's exit code. Throws what keeps it from starting. */
export async function runImage(invocation: Invocation<typeof runFlags>): Promise<number> {
  const { flags, args: _, ...context } = invocation
  assertRoot('run a container')
  if (!flags.detach) assertTerminal(flags, context)
  if (flags.detach && flags.isolation === 'oci') {
    throw usageError('Cannot use --detach with --isolation oci')
  }
  if (!flags.detach && flags['log-opt'].length > 0) {
    throw usageError('Cannot use --log-opt without --detach: the output goes where ours goes')
  }
  logLimitOf(flags['log-opt'])
  await using store = await openStore(context.environment.root)
  using idFile = openIdFile(flags.cidfile)
  const request = await requestOf(store, invocation, idFile)
  if (flags.detach) return await runInBackground(store, request, { flags, context, idFile })
  return await runInForeground(store, request, { flags, context, idFile })
}

/** `tsrun create`: prints the id. Throws what keeps the container from being made. */
export async function createFromImage(
  invocation: Invocation<typeof containerFlags>,
): Promise<number> {
  const { flags, environment, stdout } = invocation
  assertRoot('create a container')
  if (flags.isolation === 'oci') throw usageError('Cannot use --isolation oci with "create"')
  const joined = ([flags.network, flags.pid, flags.ipc] as const).find(m =>
    m.startsWith('container:'),
  )
  if (joined !== undefined) {
    throw usageError(
      `Cannot create a container for later in that of another (${printable(joined)})`,
    )
  }
  const logLimit = logLimitOf(flags['log-opt'])
  await using store = await openStore(environment.root)
  using idFile = openIdFile(flags.cidfile)
  const request = await requestOf(store, invocation, idFile)
  const id = await makeContainer(store, request, {
    createdAt: new Date().toISOString(),
    ...(logLimit === undefined ? {} : { logLimit }),
    ...(flags.interactive ? { hasOpenInput: true } : {}),
  })
  idFile.keep()
  stdout.write(`${id}\n`)
  return 0
}

/** What the flags and the image say, pulled and unpacked. */
async function requestOf(
  store: Store,
  invocation: Pick<Invocation<typeof containerFlags>, 'args' | 'flags'> & CliContext,
  idFile: IdFile,
): Promise<ContainerRequest> {
  const {
    flags,
    args: [imageName = '', ...command],
    ...context
  } = invocation
  const alone = await containerOptions(flags, command, context.environment.lookup)
  const labels = await labelsOf(flags.label, flags['label-file'])
  const joined = await withJoined(alone, flags, store)
  const options = await withVolumesFrom(joined, flags['volumes-from'], store)
  const wanted = wantedImage(imageName, flags)
  const image = await provideImage(store, wanted, context)
  return {
    image: {
      name: imageName,
      id: image.config.digest,
      chain: await provideLayers(store, image, { wanted, context }),
      config: image.config.value.config,
    },
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    groups: flags['group-add'],
    lifetime: flags.rm ? 'removed-at-end' : 'kept',
    labels,
    onCreated: id => idFile.write(id),
    stop: stopWishes(flags, image.config.value.config),
    options: flags['publish-all']
      ? withExposedPorts(options, image.config.value.config, flags.expose)
      : options,
  }
}

/** The image's own signal is what its authors say stops it; one that Linux lacks says nothing. */
function stopWishes(
  { 'stop-signal': signal, 'stop-timeout': timeout }: RunFlags,
  { StopSignal = '' }: RunConfig,
): NonNullable<ContainerRequest['stop']> {
  const stopSignal = signal === undefined ? findSignal(StopSignal) : signalNumber(signal)
  return {
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(timeout === undefined ? {} : { stopTimeout: timeout }),
  }
}

/** Those that are published already keep their place. */
function withExposedPorts(
  options: ContainerOptions,
  { ExposedPorts = {} }: RunConfig,
  more: readonly string[],
): ContainerOptions {
  const { ports = [] } = options.extras
  const isPublished = (port: PublishedPort) =>
    ports.some(other => other.port === port.port && other.protocol === port.protocol)
  const all = new Set([...Object.keys(ExposedPorts), ...more.flatMap(exposedRange)])
  const exposed = exposedPorts([...all]).filter(port => !isPublished(port))
  return { ...options, extras: { ...options.extras, ports: [...ports, ...exposed] } }
}

function wantedImage(name: string, { platform, pull, quiet }: RunFlags): WantedImage {
  return { name, platform, pull, layers: 'unpacked', progress: quiet ? 'quiet' : 'auto' }
}

/** As docker says it. */
function assertTerminal(flags: RunFlags, { stdin }: CliContext): void {
  if (flags.tty && stdin().isTTY !== true) {
    throw new CliError(exitCodes.usage, 'The input device is not a TTY', {
      hint: 'Leave --tty out when standard input is no terminal',
    })
  }
}

interface Foreground {
  readonly flags: RunFlags
  readonly idFile: IdFile
  readonly context: CliContext
}

/** Prints the id once the container runs and will live on. */
async function runInBackground(
  store: Store,
  request: ContainerRequest,
  { flags, context, idFile }: Foreground,
): Promise<number> {
  const logLimit = logLimitOf(flags['log-opt'])
  const id = await startContainer(store, request, {
    ...(logLimit === undefined ? {} : { logLimit }),
    stdin: flags.interactive ? 'open' : 'null',
    signal: context.signal,
    now: () => new Date(),
  })
  idFile.keep()
  context.stdout.write(`${id}\n`)
  return 0
}

async function runInForeground(
  store: Store,
  request: ContainerRequest,
  { flags, context, idFile }: Foreground,
): Promise<number> {
  context.signal.throwIfAborted()
  const stop = new AbortController()
  using signals = new SignalForwarder(context.stderr, stop, stopRules(flags))
  using _forwarding = context.interrupts.forwardTo(signal => signals.take(signal), forwarded)
  const status = await runContainer(store, request, {
    stdin: flags.interactive ? 'inherit' : 'null',
    output: 'inherit',
    signal: stop.signal,
    now: () => new Date(),
    onStarted: handle => {
      idFile.keep()
      signals.start(handle)
    },
    ...isolationRuntime(flags, context.environment),
  })
  if (status.outOfMemory) {
    context.stderr.write('The container reached its memory limit and was killed\n')
  }
  return status.code
}
