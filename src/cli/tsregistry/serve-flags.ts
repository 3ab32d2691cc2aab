/** The flags of `tsregistry serve`. `config.yml` is another way to give them (`config/keys.ts`). */
import { defaultClientUploads } from '../../registry/server/application.ts'
import type { FlagValues } from '../flags/flags.ts'
import { accessFlags } from './access-flags.ts'
import { collectFlags } from './collect-flags.ts'
import { immutableTagsFlag } from './immutable-tags-flag.ts'
import { limitFlags } from './limits.ts'
import { proxyFlag } from './networks.ts'
import { redirectFlag } from './redirects.ts'
import { storageFlags } from './storage-place.ts'
import { tlsFlags } from './tls-flags.ts'

export const serveFlags = {
  config: {
    kind: 'string',
    value: 'FILE',
    help: 'A config.yml in the shape of distribution; see docs/configuration.md',
    env: 'REGISTRY_CONFIGURATION_PATH',
  },
  addr: {
    kind: 'string',
    value: 'HOST:PORT',
    help: 'Where to listen; port 0 chooses a free one',
    env: 'TSREGISTRY_ADDR',
    default: '127.0.0.1:5000',
  },
  'trusted-proxy': proxyFlag,
  ...tlsFlags,
  ...storageFlags,
  redirect: redirectFlag,
  upstream: {
    kind: 'strings',
    value: '[PREFIX=]REGISTRY',
    help: 'Pull through from this registry what is asked for below the prefix; "*=": everything',
  },
  ...accessFlags,
  'read-only': {
    kind: 'boolean',
    help: 'Serve what is stored and change nothing',
  },
  ...limitFlags,
  delete: {
    kind: 'boolean',
    help: 'Let clients delete',
    default: true,
  },
  'log-level': {
    kind: 'choice',
    choices: ['error', 'warn', 'info', 'debug'],
    help: 'What to log; info has one line per request',
    env: 'TSREGISTRY_LOG_LEVEL',
    default: 'info',
  },
  'audit-log': {
    kind: 'string',
    value: 'FILE',
    help: 'One JSON line for each change, refused ones included; "-": to stdout',
    env: 'TSREGISTRY_AUDIT_LOG',
  },
  'debug-addr': {
    kind: 'string',
    value: 'HOST:PORT',
    help: 'Where to serve metrics and probes, apart from clients',
    env: 'TSREGISTRY_DEBUG_ADDR',
  },
  metrics: {
    kind: 'boolean',
    help: 'Have metrics there',
    default: true,
  },
  'metrics-path': {
    kind: 'string',
    value: 'PATH',
    help: 'The page of the metrics',
    default: '/metrics',
  },
  'event-queue': {
    kind: 'string',
    value: 'DIR',
    help: 'Where events wait for the endpoints of notifications (default: notifications in the folder of --root)',
  },
  'event-queue-size': {
    kind: 'integer',
    value: 'BYTES',
    help: 'How much may wait there; beyond, the oldest events are lost',
    default: 256 * 1024 * 1024,
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
  'client-uploads': {
    kind: 'integer',
    value: 'N',
    help: 'Requests with content that one address may be sending at a time; 0: any number',
    default: defaultClientUploads,
  },
  'missing-references': {
    kind: 'choice',
    choices: ['accept', 'refuse'],
    help: 'Manifests that name blobs which the repository does not have',
    default: 'accept',
  },
  ...immutableTagsFlag('Tags that are set once and stay, by patterns such as "app/**:v*"'),
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
} as const

export type ServeFlags = FlagValues<typeof serveFlags>
export type ServeFlag = keyof typeof serveFlags
