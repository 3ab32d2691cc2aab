/**
 * Which addresses a request may reach that somebody else chose: where a redirect leads, the token
 * server that a registry names. Whoever chooses them must not reach what this machine can reach and
 * they cannot: its own services, its network, the metadata of its cloud.
 *
 * Names are judged by what they resolve to, as the connection is made: a name that resolves to
 * another address the second time gains nothing.
 */
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns'
import { BlockList, isIP } from 'node:net'
import { OciError, printable } from '../../oci/errors.ts'

const reservedBlocks = {
  ipv4: [
    '0.0.0.0/8',
    '10.0.0.0/8',
    '100.64.0.0/10',
    '127.0.0.0/8',
    '169.254.0.0/16',
    '172.16.0.0/12',
    '192.0.0.0/24',
    '192.168.0.0/16',
    '198.18.0.0/15',
    '224.0.0.0/4',
    '240.0.0.0/4',
  ],
  ipv6: ['::/127', '64:ff9b:1::/48', 'fc00::/7', 'fe80::/10', 'ff00::/8'],
} as const

/** IPv6 that carries an IPv4 address in its last four bytes, or its third to sixth. */
const embeddingBlocks = { ipv4: [], ipv6: ['::ffff:0:0/96', '64:ff9b::/96'] } as const

type Blocks = Readonly<Record<'ipv4' | 'ipv6', readonly string[]>>

/** Most commands ask nobody, and need none of them. */
function blockList(blocks: Blocks): () => BlockList {
  let made: BlockList | undefined
  return () => {
    if (made !== undefined) return made
    made = new BlockList()
    for (const family of ['ipv4', 'ipv6'] as const) {
      for (const block of blocks[family]) {
        const [address = '', bits = ''] = block.split('/')
        made.addSubnet(address, Number(bits), family)
      }
    }
    return made
  }
}

const reserved = blockList(reservedBlocks)
const embedding = blockList(embeddingBlocks)

/** Whether an address is the public network's. `false` for what is no address. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !reserved().check(address, 'ipv4')
  if (family !== 6) return false
  if (embedding().check(address, 'ipv6')) return isPublicAddress(lastFourBytes(address))
  const [first = '', second = '', third = ''] = groupsOf(address)
  if (first === '2002') return isPublicAddress(dotted(second, third))
  return !reserved().check(address, 'ipv6')
}

/** Throws `denied` for a URL whose host is an address of a private network, or this machine. */
export function mustBePublic(action: string, { hostname, host }: URL): void {
  const name = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const isLocalName = name === 'localhost' || name.endsWith('.localhost')
  if (isLocalName || (isIP(name) !== 0 && !isPublicAddress(name))) throw refused(action, host)
}

type Callback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void

/** `dns.lookup` for sockets, which fails when one of the addresses is not public. */
export function lookupPublic(name: string, options: LookupOptions, callback: Callback): void {
  lookup(name, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, [])
    const [first] = addresses
    const isSafe = addresses.every(({ address }) => isPublicAddress(address))
    if (!isSafe || first === undefined) return callback(refused('connect', name), [])
    if (options.all === true) callback(null, addresses)
    else callback(null, first.address, first.family)
  })
}

function refused(action: string, host: string): OciError {
  return new OciError(
    'denied',
    `Cannot ${action}: refusing to go to "${printable(host)}", which is in a private network`,
  )
}

/** The eight groups, without leading zeros. */
function groupsOf(address: string): string[] {
  // The URL parser writes every form of an address in one.
  const plain = new URL(`http://[${address.split('%', 1)[0]}]`).hostname.slice(1, -1)
  const [head = '', tail] = plain.split('::')
  const front = head.split(':').filter(Boolean)
  const back = tail?.split(':').filter(Boolean) ?? []
  return [...front, ...Array<string>(8 - front.length - back.length).fill('0'), ...back]
}

function lastFourBytes(address: string): string {
  const [high = '', low = ''] = groupsOf(address).slice(-2)
  return dotted(high, low)
}

function dotted(high: string, low: string): string {
  const bytes = [high, low].flatMap(group => {
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
  return bytes.join('.')
}
