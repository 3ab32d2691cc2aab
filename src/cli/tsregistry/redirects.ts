/** Which clients get blobs from the storage itself: by the network they come from. */
import { usageError } from '../cli-error.ts'
import { type IsInside, networksFrom } from './networks.ts'
import type { StoragePlace } from './storage-place.ts'

export const redirectFlag = {
  kind: 'strings',
  value: 'NETWORK',
  help: 'Clients that fetch blobs from the bucket itself: "all", or networks such as 10.0.0.0/8',
} as const

/** Throws a usage error for what is no network, and for a folder, which nobody can be sent to. */
export function redirectsFrom(networks: readonly string[], place: StoragePlace): IsInside {
  if (networks.length === 0) return () => false
  if (place.kind !== 's3') throw usageError('Cannot use flag --redirect: the storage is a folder')
  if (networks.includes('all')) return () => true
  return networksFrom('redirect', networks, '"all" or a network such as 10.0.0.0/8')
}
