/** Client certificates as identities, over real TLS. */

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, request, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { identityOfCertificate } from '../../../../src/registry/server/access/certificate.ts'
import { createApplication } from '../../../../src/registry/server/application.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { describeWith } from '../../../support/requires.ts'
import { type Authority, type Certificate, createAuthority } from './certificates.ts'
import { basic, bearer, type Guarded, openGuarded } from './guarded.ts'

const policy = `
policies:
  - repositories: ["spiffe/**"]
    allow: [{ to: ["user:cert:spiffe://acme/ci"], rights: [pull] }]
  - repositories: ["hosts/**"]
    allow: [{ to: ["user:cert:*.example"], rights: [pull] }]
  - repositories: ["acme/**"]
    allow: [{ to: ["group:cert:Acme"], rights: [pull] }]
  - repositories: ["alice/**"]
    allow: [{ to: ["user:alice"], rights: [pull] }]
`

describeWith(['openssl'], 'a client certificate', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsregistry-mtls-'))
  let authority: Authority
  let guarded: Guarded
  let server: Server
  beforeAll(async () => {
    authority = createAuthority(folder)
    guarded = await openGuarded({ users: { alice: 'a' }, policy })
    const application = createApplication({
      storage: createRegistryStorage(guarded.objects),
      access: guarded.access,
      onError: error => {
        throw error
      },
      onRequest: () => {},
    })
    const own = authority.issue('server', '/CN=server', 'subjectAltName=DNS:localhost')
    const tls = { ...own, ca: authority.cert, requestCert: true, rejectUnauthorized: false }
    server = createServer(tls, (req, res) => application(req, res, () => {}))
    await new Promise<void>(resolve => {
      server.listen(0, '127.0.0.1', resolve)
    })
  })
  afterAll(async () => {
    server.closeAllConnections()
    server.close()
    await guarded[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const get = (path: string, own?: Certificate, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; text: string; challenge: string | undefined }>(
      (resolve, reject) => {
        const { port } = server.address() as AddressInfo
        const options = { port, path, headers, ca: authority.cert, servername: 'localhost', ...own }
        request({ host: '127.0.0.1', agent: false, ...options }, res => {
          let text = ''
          res.on('data', chunk => {
            text += chunk
          })
          const challenge = res.headers['www-authenticate']
          res.on('end', () => resolve({ status: res.statusCode ?? 0, text, challenge }))
        })
          .on('error', reject)
          .end()
      },
    )
  const status = async (name: string, own?: Certificate, headers = {}) =>
    (await get(`/v2/${name}/app/tags/list`, own, headers)).status

  it('is whom its address, else its host’s name, else its common name says', async () => {
    const spiffe = authority.issue(
      'a',
      '/CN=x',
      'subjectAltName=URI:spiffe://acme/ci,DNS:a.example',
    )
    expect([await status('spiffe', spiffe), await status('hosts', spiffe)]).toEqual([404, 403])
    const host = authority.issue('b', '/CN=x', 'subjectAltName=DNS:b.example')
    expect([await status('spiffe', host), await status('hosts', host)]).toEqual([403, 404])
    const common = authority.issue('c', '/CN=c.example')
    expect([await status('hosts', common), await status('acme', common)]).toEqual([404, 403])
  })

  it('has its organizations as groups, and is nobody with a password’s name', async () => {
    const alice = authority.issue('d', '/O=Acme/CN=alice')
    expect([await status('acme', alice), await status('alice', alice)]).toEqual([404, 403])
    expect(await status('alice', alice, basic('alice', 'a'))).toBe(404)
    expect(await status('acme', alice, basic('alice', 'x'))).toBe(401)
  })

  it('gets tokens', async () => {
    const host = authority.issue('e', '/CN=x', 'subjectAltName=DNS:e.example')
    const answer = await get('/token?scope=repository:hosts/app:pull', host)
    expect(await status('hosts', undefined, bearer(JSON.parse(answer.text).token))).toBe(404)
  })

  it('of another authority is nobody’s, as is none', async () => {
    const other = createAuthority(folder, 'other').issue('f', '/CN=f.example')
    expect([await status('hosts', other), await status('hosts')]).toEqual([401, 401])
    expect((await get('/v2/')).challenge).toBe('Basic realm="tests", charset="UTF-8"')
  })

  it('that names nobody, or two by a comma, is nobody', () => {
    const groups = { organizations: [] }
    expect(identityOfCertificate({ ...groups })).toBe(undefined)
    expect(identityOfCertificate({ ...groups, commonName: 'a b' })).toBe(undefined)
    const tricky = 'URI:"http://x, DNS:root.example"'
    expect(identityOfCertificate({ ...groups, alternativeNames: tricky })).toBe(undefined)
  })
})
