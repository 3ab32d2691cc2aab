/** `tsregistry serve`: storage, server and log put together, until a signal stops them. */
import { openAccess } from '../../registry/server/access.ts'
import { type Listener, listen } from '../../registry/server/listen.ts'
import { openFileObjectStore } from '../../registry/storage/filesystem/file-object-store.ts'
import { parseImmutableTags } from '../../registry/storage/immutable-tags.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import { type Command, defineCommand } from '../command.ts'
import { parseAs } from '../flag-values.ts'
import { explainListenFailure, isLoopback, parseAddress } from './address.ts'
import { collectFlags, collectOptions } from './collect-flags.ts'
import { startHousekeeping } from './housekeeping.ts'
import { createLog } from './log.ts'
import { rootFlag, rootFrom } from './storage-root.ts'

export const serveCommand: Command = defineCommand({
  name: 'serve',
  usage: '[FLAGS]',
  summary: 'Serve the registry until stopped',
  examples: ['tsregistry serve', 'tsregistry serve --addr 127.0.0.1:0 --root ./registry'],
  arity: { min: 0, max: 0 },
  flags: {
    addr: {
      kind: 'string',
      value: 'HOST:PORT',
      help: 'Where to listen; port 0 chooses a free one',
      env: 'TSREGISTRY_ADDR',
      default: '127.0.0.1:5000',
    },
    root: rootFlag,
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
  run: async ({ flags, environment, signal, stdout }) => {
    const address = parseAddress(flags.addr)
    const root = rootFrom(flags.root, environment)
    const isImmutable = parseAs('flag --immutable-tags', () =>
      parseImmutableTags(flags['immutable-tags']),
    )
    const collecting = await collectOptions(flags)
    const log = createLog(flags['log-level'])
    await using store = await openFileObjectStore(root)
    const storage = createRegistryStorage(store.objects, {
      missingReferences: flags['missing-references'],
      isImmutable,
      verifyReads: flags['verify-reads'] / 100,
    })
    const listener = await explainListenFailure(flags.addr, () =>
      listen({
        ...address,
        storage,
        access: openAccess,
        onError: error => log.error({ err: error }, 'request failed'),
        onRequest: entry => log.info(entry, 'request'),
      }),
    )
    stdout.write(`Listening on ${urlOf(listener)}, storing in ${root}\n`)
    if (!isLoopback(listener.host)) {
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

function urlOf({ host, port }: Listener): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
