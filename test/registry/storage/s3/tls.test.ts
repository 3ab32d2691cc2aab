/** A bucket behind TLS, whose certificate an authority of the operator's own made. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { createServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openS3ObjectStore } from '../../../../src/registry/storage/s3/open-s3.ts'
import { createS3Client } from '../../../../src/registry/storage/s3/s3-client.ts'
import type { S3Options } from '../../../../src/registry/storage/s3/s3-options.ts'
import { findFullS3Server, startS3Server, type TestS3Server } from '../../../support/s3-server.ts'
import { createAuthority } from '../../server/access/certificates.ts'

const product = findFullS3Server()

describe.skipIf(product === undefined)('S3 over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3-tls-'))
  const authority = createAuthority(folder)
  const certificate = authority.issue('server', '/CN=s3', 'subjectAltName=IP:127.0.0.1')
  let server: TestS3Server
  let options: S3Options
  // Only the TLS of it: what is signed, the host included, reaches the server as it is.
  const tls = createServer(certificate, encrypted => {
    const plain = connect(server.port, '127.0.0.1')
    pipeline(encrypted, plain, () => {})
    pipeline(plain, encrypted, () => {})
  })
  tls.on('tlsClientError', () => {})

  beforeAll(async () => {
    if (product === undefined) return
    server = await startS3Server(product)
    await once(tls.listen(0, '127.0.0.1'), 'listening')
    const { port } = tls.address() as AddressInfo
    options = { ...server.options, endpoint: new URL(`https://127.0.0.1:${port}`) }
  }, 60_000)
  afterAll(async () => {
    tls.close()
    await server[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  it('stores and reads when the authority is named, large objects too', async () => {
    await using store = await openS3ObjectStore({ ...options, ca: [authority.cert] })
    const { objects } = store
    await objects.put('small', Buffer.from('text'))
    expect((await objects.get('small'))?.bytes.toString()).toBe('text')
    const bytes = randomBytes(3_000_000)
    await using append = await objects.append('large')
    await append.write([bytes])
    await append.complete()
    const read: Uint8Array[] = []
    for await (const chunk of await objects.open('large')) read.push(Buffer.from(chunk))
    expect(Buffer.concat(read).equals(bytes)).toBe(true)
  })

  it('reads large objects by hand over the same trust', async () => {
    const client = await createS3Client({ ...options, ca: [authority.cert] })
    await client.sendOnly({ method: 'PUT', key: 'by-hand', body: Buffer.alloc(1_000_000, 'x') })
    const body = await client.get('by-hand', { start: 0, end: 1_000_000, of: 1_000_000 })
    expect(body?.descriptor).toBeUndefined()
    expect(body?.first.length).toBeGreaterThanOrEqual(0)
    body?.destroy()
    client.close()
    expect(body).toBeDefined()
  })

  it('refuses at once a certificate of another host', async () => {
    const elsewhere = new URL(`https://localhost:${(tls.address() as AddressInfo).port}`)
    const opening = openS3ObjectStore({ ...options, endpoint: elsewhere, ca: [authority.cert] })
    await expect(opening).rejects.toMatchObject({ hint: expect.stringContaining('ALTNAME') })
  })

  it.each([
    ['no authority is named', undefined],
    ['another one is', createAuthority(folder, 'other').cert],
  ])('says that the certificate is not trusted when %s', async (_, cert) => {
    const ca = cert === undefined ? {} : { ca: [cert] }
    await expect(openS3ObjectStore({ ...options, ...ca })).rejects.toMatchObject({
      code: 'unavailable',
      hint: expect.stringMatching(/certificate is not trusted .*SSL_CERT_FILE/),
    })
  })
})
