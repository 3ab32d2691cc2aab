/**
 * Every key of `config.yml`, in distribution's shape: its type, what it does here, whether a reload
 * takes it. The reader, the variables, the JSON Schema and the page of the manual follow this table.
 */
import type { Key } from './key.ts'
import { notificationKeys } from './notification-keys.ts'
import { httpKeys, logKeys } from './server-keys.ts'
import { storageKeys } from './storage-keys.ts'
import { proxyKeys, upstreamKeys } from './upstream-keys.ts'

const auth: readonly Key[] = [
  {
    path: 'auth.htpasswd.path',
    type: 'string',
    use: 'taken',
    flag: 'htpasswd',
    help: 'Users and their passwords, as made by htpasswd -B; read again when it changes',
  },
  {
    path: 'auth.htpasswd.realm',
    type: 'string',
    use: 'taken',
    flag: 'realm',
    default: 'tsregistry',
    help: 'What users log in to, and what tokens are for',
  },
  {
    path: 'auth.token',
    type: 'any',
    use: 'refused',
    help: 'Name the token server in tsregistry.tokenurl and its keys in a policy file; see docs/access.md',
  },
  {
    path: 'auth.silly',
    type: 'any',
    use: 'refused',
    help: 'It lets everybody in: leave auth out for that',
  },
]

const elsewhere: readonly Key[] = [
  {
    path: 'health.storagedriver',
    type: 'any',
    use: 'accepted',
    help: 'Uploads and pulls tell by themselves when the storage is away: 503 with Retry-After',
  },
  ...['health.file', 'health.http', 'health.tcp'].map(
    (path): Key => ({ path, type: 'any', use: 'refused', help: 'Check it with a tool of its own' }),
  ),
  {
    path: 'tags.maxtags',
    type: 'integer',
    use: 'refused',
    unless: [1000],
    help: 'A page of tags has up to 1000 entries',
  },
  {
    path: 'catalog.maxentries',
    type: 'integer',
    use: 'refused',
    unless: [1000],
    help: 'A page of the catalog has up to 1000 entries',
  },
  ...(
    [
      ['middleware', 'Redirects are storage.redirect; leave the others out'],
      ['policy', 'Rules for repositories are in the file of tsregistry.policy'],
      ['redis', 'Nothing needs it: any number of replicas serve one bucket without'],
      ['validation', 'See tsregistry.missingreferences'],
    ] as const
  ).map(([path, help]): Key => ({ path, type: 'any', use: 'refused', help })),
]

/** Not in distribution: the rest of the flags of `tsregistry serve`. */
const ours: readonly Key[] = [
  {
    path: 'tsregistry.immutabletags',
    type: 'strings',
    use: 'taken',
    flag: 'immutable-tags',
    help: 'Tags that are set once and stay, by patterns such as "app/**:v*"',
  },
  {
    path: 'tsregistry.missingreferences',
    type: ['accept', 'refuse'],
    use: 'taken',
    flag: 'missing-references',
    default: 'accept',
    help: 'Manifests that name blobs which the repository does not have',
  },
  {
    path: 'tsregistry.verifyreads',
    type: 'number',
    use: 'taken',
    flag: 'verify-reads',
    default: 1,
    help: 'Of the blobs that are sent whole, how many percent are checked on the way out',
  },
  {
    path: 'tsregistry.clientuploads',
    type: 'integer',
    use: 'taken',
    flag: 'client-uploads',
    default: 256,
    help: 'Requests with content that one address may be sending at a time; 0 for any number',
  },
  {
    path: 'tsregistry.ratelimits',
    type: 'strings',
    use: 'taken',
    flag: 'rate-limit',
    reload: true,
    help: 'How often clients may ask, by rules such as "pull 200/6h per client"; see docs/limits.md',
  },
  {
    path: 'tsregistry.quotas',
    type: 'strings',
    use: 'taken',
    flag: 'quota',
    reload: true,
    help: 'What repositories may hold, by rules such as "50GB in team/**"; see docs/limits.md',
  },
  {
    path: 'tsregistry.maintenance.enabled',
    type: 'boolean',
    use: 'taken',
    flag: 'maintenance',
    default: false,
    reload: true,
    help: 'Everything but the probes is answered 503 with Retry-After',
  },
  {
    path: 'tsregistry.maintenance.message',
    type: 'string',
    use: 'taken',
    flag: 'maintenance-message',
    default: 'The registry is being maintained: try again later',
    reload: true,
    help: 'What clients are told then',
  },
  {
    path: 'tsregistry.maintenance.retryafter',
    type: 'duration',
    use: 'taken',
    flag: 'maintenance-retry-after',
    default: '60s',
    reload: true,
    help: 'When they are told to come again',
  },
  {
    path: 'tsregistry.redirect',
    type: 'strings',
    use: 'taken',
    flag: 'redirect',
    help: 'Networks of clients that fetch blobs from the bucket itself',
  },
  {
    path: 'tsregistry.trustedproxies',
    type: 'strings',
    use: 'taken',
    flag: 'trusted-proxy',
    help: 'Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; see docs/access.md',
  },
  {
    path: 'tsregistry.policy',
    type: 'string',
    use: 'taken',
    flag: 'policy',
    help: 'Who may do what in which repositories; a file, read again when it changes',
  },
  {
    path: 'tsregistry.tokenkey',
    type: 'string',
    use: 'taken',
    flag: 'token-key',
    help: 'A folder of keys that tokens are signed with, shared by all replicas',
  },
  {
    path: 'tsregistry.tokenurl',
    type: 'string',
    use: 'taken',
    flag: 'token-url',
    help: 'A token server elsewhere that clients are sent to',
  },
  {
    path: 'tsregistry.auditlog',
    type: 'string',
    use: 'taken',
    flag: 'audit-log',
    help: 'A file that gets one JSON line for each change; "-": stdout',
  },
  {
    path: 'tsregistry.gc.interval',
    type: 'duration',
    use: 'taken',
    flag: 'gc-interval',
    default: '1h',
    help: 'How often to collect garbage; 0: never',
  },
  {
    path: 'tsregistry.gc.grace',
    type: 'duration',
    use: 'taken',
    flag: 'gc-grace',
    default: '24h',
    help: 'How long garbage is left alone, and again before it is removed',
  },
  {
    path: 'tsregistry.gc.deleteuntagged',
    type: 'boolean',
    use: 'taken',
    flag: 'delete-untagged',
    default: false,
    help: 'Remove manifests too that no tag, index or subject leads to',
  },
  {
    path: 'tsregistry.gc.retention',
    type: 'string',
    use: 'taken',
    flag: 'retention',
    help: 'A file of rules that say which tags stay',
  },
  {
    path: 'tsregistry.gc.historyexpiry',
    type: 'duration',
    use: 'taken',
    flag: 'history-expiry',
    default: '720h',
    help: 'For how long a tag can be set back to what it pointed at',
  },
]

export const keys: readonly Key[] = [
  {
    path: 'version',
    type: ['0.1'],
    use: 'taken',
    help: 'The version of the file; required',
  },
  ...logKeys,
  ...storageKeys,
  ...httpKeys,
  ...auth,
  ...notificationKeys,
  ...proxyKeys,
  ...elsewhere,
  ...ours,
  ...upstreamKeys,
]
