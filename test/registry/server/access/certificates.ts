/** An authority and certificates of it, by openssl. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  readonly cert: Buffer
  readonly key: Buffer
}

export interface Authority {
  readonly cert: Buffer
  /** `extension`: such as `subjectAltName=DNS:localhost`. */
  issue(name: string, subject: string, extension?: string): Certificate
}

/** Files go in `folder`: `NAME.crt` and `NAME.key`, the authority's as `NAME` too. */
export function createAuthority(folder: string, name = 'ca'): Authority {
  const file = (of: string) => join(folder, of)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const self = ['-x509', '-subj', `/CN=${name}`, '-days', '2', '-out', file(`${name}.crt`)]
  openssl(['req', ...self, ...key, '-keyout', file(`${name}.key`)])
  return {
    cert: readFileSync(file(`${name}.crt`)),
    issue: (of, subject, extension = 'keyUsage=digitalSignature') => {
      const [request, extensions] = [file(`${of}.csr`), file(`${of}.ext`)]
      openssl(['req', '-subj', subject, ...key, '-keyout', file(`${of}.key`), '-out', request])
      writeFileSync(extensions, `${extension}\n`)
      const by = ['-CA', file(`${name}.crt`), '-CAkey', file(`${name}.key`), '-CAcreateserial']
      const out = ['-days', '2', '-extfile', extensions, '-out', file(`${of}.crt`)]
      openssl(['x509', '-req', '-in', request, ...by, ...out])
      return { cert: readFileSync(file(`${of}.crt`)), key: readFileSync(file(`${of}.key`)) }
    },
  }
}

function openssl(args: readonly string[]): void {
  const { status, stderr } = spawnSync('openssl', args)
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`)
}
