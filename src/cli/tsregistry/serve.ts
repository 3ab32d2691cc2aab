/** `tsregistry serve`: storage, server and log put together, until a signal stops them. */
import type { Logger } from 'pino'
import { type Listener, listen } from '../../registry/server/listen.ts'
import { parseImmutableTags } from '../../registry/storage/immutable-tags.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import type { Findings } from '../../registry/storage/s3/probe.ts'
import { type Command, defineCommand } from '../command.ts'
import { parseAs } from '../flag-values.ts'
import { accessFlags, accessOptions, openAccessFrom } from './access-flags.ts'
import { explainListenFailure, isLoopback, parseAddress } from './address.ts'
import { collectFlags, collectOptions } from './collect-flags.ts'
import { startHousekeeping } from './housekeeping.ts'
import { createLog } from './log.ts'
import { redirectFlag, redirectsFrom } from './redirects.ts'
import { openStorage, storageFlags, storagePlace } from './storage-place.ts'

export const serveCommand: Command = defineCommand({
  name: 'serve',
  usage: '[FLAGS]',
  summary: 'Serve the registry until stopped',
  examples: [
    'tsregistry serve',
    'tsregistry serve --addr 127.0.0.1:0 --root ./registry',
    'tsregistry serve --htpasswd users --policy policy.yaml',
    'tsregistry serve --storage s3://bucket/prefix?region=eu-central-1',
  ],
  arity: { min: 0, max: 0 },
  flags: {
    addr: {
      kind: 'string',
      value: 'HOST:PORT',
      help: 'Where to listen; port 0 chooses a free one',
      env: 'TSREGISTRY_ADDR',
      default: '127.0.0.1:5000',
    },
    ...storageFlags,
    redirect: redirectFlag,
    ...accessFlags,
    'log-level': {
      kind: 'choice',
      choices: ['error', 'warn', 'info', 'debug'],
      help: 'What to log; info has one line per request',
      env: 'TSREGISTRY_LOG_LEVEL',
      default: 'info',
    },
    'drain-timeout': {
      kind: 'duration',
      value: 'TIME',
      help: 'How long to wait for requests under way when stopped',
      default: 60_000,
    },
    'upload-expiry': {
      kind: 'duration',
      value: 'TIME',
      help: 'After which an upload that nobody goes on with is removed',
      default: 7 * 24 * 3600_000,
    },
    'missing-references': {
      kind: 'choice',
      choices: ['accept', 'refuse'],
      help: 'Manifests that name blobs which the repository does not have',
      default: 'accept',
    },
    'immutable-tags': {
      kind: 'strings',
      value: 'REPOSITORIES:TAGS',
      help: 'Tags that are set once and stay, by patterns such as "app/**:v*"',
    },
    'verify-reads': {
      kind: 'number',
      value: 'PERCENT',
      help: 'Of the blobs that are sent whole, how many are checked on the way out',
      default: 1,
    },
    'gc-interval': {
      kind: 'duration',
      value: 'TIME',
      help: 'How often to collect garbage; 0: never',
      env: 'TSREGISTRY_GC_INTERVAL',
      default: 3600_000,
    },
    ...collectFlags,
  } as const,
  run: async ({ flags, given, environment, signal, stdout }) => {
    const address = parseAddress(flags.addr)
    const place = storagePlace(flags, given, environment)
    const redirects = redirectsFrom(flags.redirect, place)
    const isImmutable = parseAs('flag --immutable-tags', () =>
      parseImmutableTags(flags['immutable-tags']),
    )
    const accessing = accessOptions(flags, { given, isMutual: false })
    const collecting = await collectOptions(flags)
    const log = createLog(flags['log-level'])
    await using store = await openStorage(place, { as: 'server' })
    const storage = createRegistryStorage(store.objects, {
      missingReferences: flags['missing-references'],
      isImmutable,
      verifyReads: flags['verify-reads'] / 100,
    })
    await using access = await openAccessFrom(accessing, { objects: store.objects, log })
    const listener = await explainListenFailure(flags.addr, () =>
      listen({
        ...address,
        storage,
        access,
        redirects,
        ...(store.findings === undefined ? {} : { storageMode: `s3, ${store.findings.mode}` }),
        onError: error => log.error({ err: error }, 'request failed'),
        onRequest: entry => log.info(entry, 'request'),
      }),
    )
    stdout.write(`Listening on ${urlOf(listener)}, storing in ${store.name}\n`)
    if (store.findings !== undefined) logFindings(log, store.findings)
    if (accessing === undefined && !isLoopback(listener.host)) {
      log.warn('everybody who can reach this address may pull, push and delete')
    }
    await using _ = startHousekeeping(storage, {
      ...collecting,
      intervalMs: flags['gc-interval'],
      uploadExpiryMs: flags['upload-expiry'],
      log,
    })
    await aborted(signal)
    log.info('stopping: waiting for requests under way')
    await listener.close(flags['drain-timeout'])
    log.info('stopped')
    return 0
  },
})

function logFindings(log: Logger, { mode, listing, lacks }: Findings): void {
  const entry = { mode, listing, lacks }
  if (mode === 'full') log.info(entry, 'the storage decides conditions: any number may serve')
  else log.warn(entry, 'the storage decides no conditions: this process alone may write')
}

function urlOf({ host, port }: Listener): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
