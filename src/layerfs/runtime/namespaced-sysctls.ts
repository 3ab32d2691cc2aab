/**
 * Kernel parameters that each container has for itself: those of its network and of its IPC
 * namespace. All others are the machine's, and a container would change them for everybody.
 */
import { OciError, printable } from '../../oci/errors.ts'
import type { NetworkMode } from '../sandbox/spec.ts'

const ofIpc: ReadonlySet<string> = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
])

/** Which namespaces the container shares with the machine. */
export interface SharedNamespaces {
  readonly network: NetworkMode
  readonly ipc: 'private' | 'host' | 'container'
}

/** Throws `invalid` for a parameter that is not the container's own. */
export function checkSysctl(name: string, { network, ipc }: SharedNamespaces): void {
  // With slashes, dots are part of names: net/ipv4/conf/eth0.1/mtu.
  const parts = name.split(name.includes('/') ? '/' : '.')
  if (!parts.every(part => /^\w[\w.-]*$/.test(part))) {
    throw new OciError('invalid', `"${printable(name)}" is no name of a kernel parameter`)
  }
  const refuse = (reason: string) => new OciError('invalid', `${name} ${reason}`)
  if (parts[0] === 'net') {
    if (network === 'container') throw refuse('is set where the network is made: it is another’s')
    if (network !== 'host') return
    throw refuse('would be changed for the whole machine: the network is the host’s')
  }
  if (ofIpc.has(parts.join('.')) || (parts[0] === 'fs' && parts[1] === 'mqueue')) {
    if (ipc === 'container') throw refuse('is another container’s')
    if (ipc !== 'host') return
    throw refuse('would be changed for the whole machine: the IPC namespace is the host’s')
  }
  throw refuse('is not a container’s own: it would be changed for the whole machine')
}
