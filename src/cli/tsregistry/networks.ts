/** Networks, as flags give them: which addresses are in one of them. */
import { BlockList, isIP } from 'node:net'
import { usageError } from '../cli-error.ts'

export const proxyFlag = {
  kind: 'strings',
  value: 'NETWORK',
  help: 'Proxies before the registry, such as 10.0.0.0/8: X-Forwarded-For and -Proto of theirs are believed',
} as const

export type IsInside = (address: string | undefined) => boolean

/** Whether an address is in one of them. Throws a usage error that says what was `expected`. */
export function networksFrom(
  flag: string,
  networks: readonly string[],
  expected = 'a network such as 10.0.0.0/8',
): IsInside {
  // To ask a list, if an empty one, takes longer than all else that a request's address is asked for.
  if (networks.length === 0) return () => false
  const list = new BlockList()
  const refusal = (network: string) =>
    usageError(`Cannot use flag --${flag}: expected ${expected}, got "${network}"`)
  for (const network of networks) addNetwork(list, network, refusal)
  return remote => {
    const address = remote?.replace(/^::ffff:(?=[0-9.]+$)/i, '')
    const family = isIP(address ?? '')
    return address !== undefined && family !== 0 && list.check(address, `ipv${family as 4 | 6}`)
  }
}

function addNetwork(list: BlockList, network: string, refusal: (network: string) => Error): void {
  const [address = '', bits, ...rest] = network.split('/')
  const family = isIP(address)
  const most = family === 6 ? 128 : 32
  const length = bits === undefined ? most : Number(bits)
  const isBits = bits === undefined || (/^[0-9]{1,3}$/.test(bits) && length <= most)
  if (family === 0 || !isBits || rest.length > 0) throw refusal(network)
  list.addSubnet(address, length, `ipv${family as 4 | 6}`)
}
