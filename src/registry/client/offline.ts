import { OciError, printable } from '../../oci/errors.ts'
import type { Transport } from './transport.ts'

/** Sends nothing: what is asked for is not on this machine, and no network is to be used. */
export function offlineTransport(): Transport {
  return {
    send: async ({ url }) => {
      const { host, pathname } = new URL(url)
      throw new OciError(
        'unavailable',
        `Cannot get "${printable(`${host}${pathname}`)}": no network is to be used (--offline)`,
        { hint: 'It is not in the store; do the same once without --offline' },
      )
    },
    close: async () => undefined,
  }
}
