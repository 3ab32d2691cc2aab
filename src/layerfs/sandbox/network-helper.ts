/**
 * Who connects a container without root: interfaces of the host are for its root to connect, so a
 * program carries the packets (native/sandbox/user-network.c).
 */
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { OciError } from '../../oci/errors.ts'

export interface NetworkHelper {
  readonly kind: 'pasta' | 'slirp4netns'
  readonly path: string
}

const programs = ['pasta', 'slirp4netns'] as const
const places = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin']

/** pasta, else slirp4netns. Throws `unsupported` when this machine has neither. */
export function findNetworkHelper(
  isProgram: (path: string) => boolean = isExecutable,
): NetworkHelper {
  for (const kind of programs) {
    const path = places.map(place => join(place, kind)).find(isProgram)
    if (path !== undefined) return { kind, path }
  }
  throw new OciError(
    'unsupported',
    'Cannot connect a container to a network without root: neither pasta nor slirp4netns is installed',
    {
      hint: 'Install pasta (Debian: apt-get install passt), or use --network host or none, or sudo',
    },
  )
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
