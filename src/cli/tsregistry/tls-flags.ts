/** The certificate that the server shows, and those that clients must. */
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { OciError } from '../../oci/errors.ts'
import type { TlsOptions } from '../../registry/server/listen.ts'
import { usageError } from '../cli-error.ts'
import type { FlagValues } from '../flags/flags.ts'

export const tlsFlags = {
  'tls-cert': {
    kind: 'string',
    value: 'FILE',
    help: 'Serve HTTPS with this certificate and its chain (PEM)',
    env: 'TSREGISTRY_TLS_CERT',
  },
  'tls-key': {
    kind: 'string',
    value: 'FILE',
    help: 'The private key of the certificate (PEM)',
    env: 'TSREGISTRY_TLS_KEY',
  },
  'tls-minimum': {
    kind: 'choice',
    choices: ['tls1.2', 'tls1.3'],
    help: 'The oldest TLS that is spoken',
    default: 'tls1.2',
  },
  'client-ca': {
    kind: 'strings',
    value: 'FILE',
    help: 'Authorities of client certificates (PEM), which clients must have then',
  },
  'client-auth': {
    kind: 'choice',
    choices: ['require-and-verify-client-cert', 'verify-client-cert-if-given'],
    help: 'Whether clients without a certificate are let in as well',
    default: 'require-and-verify-client-cert',
  },
} as const

type TlsFlagValues = FlagValues<typeof tlsFlags>

/**
 * `undefined`: plain HTTP. Throws a usage error for half of a pair, and `invalid` for files that
 * cannot be used, a key of another certificate among them.
 */
export async function readTls(flags: TlsFlagValues): Promise<TlsOptions | undefined> {
  const { 'tls-cert': cert, 'tls-key': key, 'client-ca': authorities } = flags
  if (cert === undefined && key === undefined) {
    if (authorities.length === 0) return undefined
    throw usageError(
      'Cannot use flag --client-ca: there is no TLS',
      'Give --tls-cert and --tls-key',
    )
  }
  if (cert === undefined || key === undefined) {
    throw usageError('Cannot serve TLS: expected --tls-cert and --tls-key together')
  }
  const options: TlsOptions = {
    cert: await readPem(cert),
    key: await readPem(key),
    minVersion: flags['tls-minimum'] === 'tls1.3' ? 'TLSv1.3' : 'TLSv1.2',
    ...(authorities.length === 0
      ? {}
      : {
          ca: await Promise.all(authorities.map(readPem)),
          requestCert: true,
          rejectUnauthorized: flags['client-auth'] === 'require-and-verify-client-cert',
        }),
  }
  checkPair(options, cert, key)
  return options
}

/** The files, which are read again when they change. */
export function tlsFiles(flags: TlsFlagValues): readonly string[] {
  const files = [flags['tls-cert'], flags['tls-key'], ...flags['client-ca']]
  return files.filter(file => file !== undefined)
}

async function readPem(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new OciError('invalid', `Cannot read ${path}: ${(cause as Error).message}`, { cause })
  }
}

function checkPair(options: TlsOptions, ...[cert, key]: [string, string]): void {
  try {
    createSecureContext(options)
  } catch (cause) {
    const reason = (cause as Error).message
    throw new OciError(
      'invalid',
      `Cannot use the certificate ${cert} with the key ${key}: ${reason}`,
      {
        cause,
      },
    )
  }
}
