/** The keys of registries that are pulled through: `proxy`, as distribution has it, and our several. */
import { type Key, own } from './key.ts'

const login = (at: string): readonly Key[] => [
  own(`${at}.username`, 'string', 'Whom to log in there as'),
  own(`${at}.password`, 'string', 'With username'),
]

const helper = (at: string): readonly Key[] => [
  own(`${at}.exec.command`, 'string', 'A credential helper to ask instead: COMMAND get'),
  own(
    `${at}.exec.lifetime`,
    'duration',
    'How long its answer is good; 0: it is asked each time; left out: once',
  ),
]

const expiry = (at: string): Key => ({
  ...own(`${at}.ttl`, 'duration', 'How long copies are kept that nobody uses; 0: for good'),
  default: '168h',
})

export const proxyKeys: readonly Key[] = [
  own(
    'proxy.remoteurl',
    'string',
    'The registry whose repositories this one shows in the place of its own; see docs/pull-through.md',
  ),
  ...login('proxy'),
  ...helper('proxy'),
  expiry('proxy'),
]

/** `*` is the prefix of the upstream's repositories here, or `*` itself for all others. */
const above = 'tsregistry.upstreams.*'

export const upstreamKeys: readonly Key[] = [
  own(
    `${above}.url`,
    'string',
    'The registry whose repositories are shown below the prefix; required',
  ),
  ...login(above),
  own(
    `${above}.passwordfile`,
    'string',
    'A file that has the password, read each time; instead of password',
  ),
  ...helper(above),
  own(
    `${above}.tokenserver`,
    'string',
    'HOST[:PORT] of a token server that may have the credentials, besides the registry itself',
  ),
  own(
    `${above}.redirecthosts`,
    'strings',
    'HOST[:PORT]s in private networks that it may redirect to; public ones need no word',
  ),
  expiry(above),
  {
    ...own(
      `${above}.tagttl`,
      'duration',
      'How long a tag is believed before the upstream is asked again; 0: not at all',
    ),
    default: '1m',
  },
  {
    ...own(
      `${above}.missttl`,
      'duration',
      'How long the upstream is not asked again for what it has not',
    ),
    default: '30s',
  },
]
