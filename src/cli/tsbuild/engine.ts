/** The Docker engine that `--load` loads into, as docker's own variables name it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Engine,
  type EngineTls,
  parseEngineAddress,
} from '../../builder/export/docker-engine.ts'
import { hasCode } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { usageError } from '../cli-error.ts'
import type { EnvironmentLookup } from '../flags/flags.ts'

/**
 * DOCKER_HOST, with TLS where DOCKER_TLS_VERIFY or DOCKER_CERT_PATH says so. Throws `unsupported`
 * and `invalid` for an address, and a usage error for a certificate that cannot be read.
 */
export function engineFrom(lookup: EnvironmentLookup): Engine {
  const address = lookup('DOCKER_HOST') ?? 'unix:///var/run/docker.sock'
  const { socketPath } = parseEngineAddress(address)
  const tls = typeof socketPath === 'string' ? undefined : tlsFrom(lookup)
  return { address, ...field('tls', tls) }
}

function tlsFrom(lookup: EnvironmentLookup): EngineTls | undefined {
  const verify = lookup('DOCKER_TLS_VERIFY') !== undefined
  const given = lookup('DOCKER_CERT_PATH')
  if (!verify && given === undefined) return undefined
  const directory = given ?? join(lookup('HOME') ?? '/', '.docker')
  const read = (name: string) => readCertificate(join(directory, name))
  return {
    verify,
    ...field('ca', read('ca.pem')),
    ...field('cert', read('cert.pem')),
    ...field('key', read('key.pem')),
  }
}

/** An engine that asks for none needs none. */
function readCertificate(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    const reason = error instanceof Error ? error.message : String(error)
    throw usageError(`Cannot read the certificate "${path}": ${reason}`, 'Check DOCKER_CERT_PATH')
  }
}
