/** The keys of registries that are pulled through: `proxy`, as distribution has it, and our several. */
import type { Key } from './key.ts'

export const proxyKeys: readonly Key[] = [
  {
    path: 'proxy.remoteurl',
    type: 'string',
    use: 'taken',
    help: 'The registry whose repositories this one shows in the place of its own; see docs/pull-through.md',
  },
  { path: 'proxy.username', type: 'string', use: 'taken', help: 'Whom to log in there as' },
  { path: 'proxy.password', type: 'string', use: 'taken', help: 'With username' },
  {
    path: 'proxy.exec.command',
    type: 'string',
    use: 'taken',
    help: 'A credential helper to ask instead: COMMAND get',
  },
  {
    path: 'proxy.exec.lifetime',
    type: 'duration',
    use: 'taken',
    help: 'How long its answer is good; 0: it is asked each time; left out: once',
  },
  {
    path: 'proxy.ttl',
    type: 'duration',
    use: 'taken',
    default: '168h',
    help: 'How long copies are kept that nobody uses; 0: for good',
  },
]

/** `*` is the prefix of the upstream's repositories here, or `*` itself for all others. */
const above = 'tsregistry.upstreams.*'

export const upstreamKeys: readonly Key[] = [
  {
    path: `${above}.url`,
    type: 'string',
    use: 'taken',
    help: 'The registry whose repositories are shown below the prefix; required',
  },
  { path: `${above}.username`, type: 'string', use: 'taken', help: 'Whom to log in there as' },
  { path: `${above}.password`, type: 'string', use: 'taken', help: 'With username' },
  {
    path: `${above}.passwordfile`,
    type: 'string',
    use: 'taken',
    help: 'A file that has the password, read each time; instead of password',
  },
  {
    path: `${above}.exec.command`,
    type: 'string',
    use: 'taken',
    help: 'A credential helper to ask instead: COMMAND get',
  },
  {
    path: `${above}.exec.lifetime`,
    type: 'duration',
    use: 'taken',
    help: 'How long its answer is good; 0: it is asked each time; left out: once',
  },
  {
    path: `${above}.tokenserver`,
    type: 'string',
    use: 'taken',
    help: 'HOST[:PORT] of a token server that may have the credentials, besides the registry itself',
  },
  {
    path: `${above}.redirecthosts`,
    type: 'strings',
    use: 'taken',
    help: 'HOST[:PORT]s in private networks that it may redirect to; public ones need no word',
  },
  {
    path: `${above}.ttl`,
    type: 'duration',
    use: 'taken',
    default: '168h',
    help: 'How long copies are kept that nobody uses; 0: for good',
  },
  {
    path: `${above}.tagttl`,
    type: 'duration',
    use: 'taken',
    default: '1m',
    help: 'How long a tag is believed before the upstream is asked again; 0: not at all',
  },
  {
    path: `${above}.missttl`,
    type: 'duration',
    use: 'taken',
    default: '30s',
    help: 'How long the upstream is not asked again for what it has not',
  },
]
