/** Which clients get blobs from the storage itself: by the network they come from. */
import { BlockList, isIP } from 'node:net'
import { usageError } from '../cli-error.ts'
import type { StoragePlace } from './storage-place.ts'

export const redirectFlag = {
  kind: 'strings',
  value: 'NETWORK',
  help: 'Clients that fetch blobs from the bucket itself: "all", or networks such as 10.0.0.0/8',
} as const

/** Throws a usage error for what is no network, and for a folder, which nobody can be sent to. */
export function redirectsFrom(
  networks: readonly string[],
  place: StoragePlace,
): (remote: string | undefined) => boolean {
  if (networks.length === 0) return () => false
  if (place.kind !== 's3') throw usageError('Cannot use flag --redirect: the storage is a folder')
  if (networks.includes('all')) return () => true
  const list = new BlockList()
  for (const network of networks) addNetwork(list, network)
  return remote => {
    const address = remote?.replace(/^::ffff:(?=[0-9.]+$)/, '')
    const family = isIP(address ?? '')
    return address !== undefined && family !== 0 && list.check(address, `ipv${family as 4 | 6}`)
  }
}

function addNetwork(list: BlockList, network: string): void {
  const [address = '', bits, ...rest] = network.split('/')
  const family = isIP(address)
  const most = family === 6 ? 128 : 32
  const length = bits === undefined ? most : Number(bits)
  const isBits = bits === undefined || (/^[0-9]{1,3}$/.test(bits) && length <= most)
  if (family === 0 || !isBits || rest.length > 0) {
    throw usageError(
      `Cannot use flag --redirect: expected "all" or a network such as 10.0.0.0/8, got "${network}"`,
    )
  }
  list.addSubnet(address, length, `ipv${family as 4 | 6}`)
}
