/** Flags of the commands that make a process, which podman's and containerd's helpers give. */
import type { FlagTable } from '../flags/flags.ts'

export const processFlags = {
  'pid-file': { kind: 'string', value: 'FILE', help: 'Write the number of its process there' },
  'console-socket': {
    kind: 'string',
    value: 'SOCKET',
    help: 'Send its terminal to who listens there',
  },
  'preserve-fds': {
    kind: 'integer',
    value: 'N',
    default: 0,
    help: 'Hand on that many descriptors from 3',
  },
} as const satisfies FlagTable

/** Only podman and systemd set these, for descriptors that they hand on. */
export function preserved(count: number): number {
  return Math.max(0, Math.min(count, 1000))
}
