/** `HOST:PORT` as it is typed: `127.0.0.1:5000`, `[::1]:5000`, `:5000` for every address. */
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

export interface Address {
  /** Empty: every address of the machine. */
  readonly host: string
  readonly port: number
}

/** Throws a usage error, quoting `text`. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]/\s]*)):([0-9]{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw usageError(`Cannot listen on "${printable(text)}": expected HOST:PORT`)
  }
  return { host: match[1] ?? match[2] ?? '', port }
}

/** Runs `listen`; the system's errors become sentences. */
export async function explainListenFailure<T>(text: string, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen()
  } catch (cause) {
    if (hasCode(cause, 'EADDRINUSE')) {
      throw new OciError('conflict', `Cannot listen on ${text}: the address is in use`, {
        cause,
        hint: 'Stop the other server, or give this one another --addr',
      })
    }
    const known = unusable.find(({ code }) => hasCode(cause, code))
    if (known !== undefined) {
      const { reason, hint } = known
      throw new OciError('invalid', `Cannot listen on ${text}: ${reason}`, { cause, hint })
    }
    throw cause
  }
}

const unusable = [
  {
    code: 'EADDRNOTAVAIL',
    reason: 'this machine has no such address',
    hint: 'Use one of its own, or :PORT for all of them',
  },
  {
    code: 'ENOTFOUND',
    reason: 'no such host',
    hint: 'Use an address of this machine, or :PORT for all of them',
  },
  {
    code: 'EACCES',
    reason: 'permission denied',
    hint: 'Ports below 1024 are for root: use a higher one',
  },
] as const

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}
