/** The contract, and large objects, while requests fail in every way that a network has. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hasCode } from '../../../../src/oci/errors.ts'
import { openS3ObjectStore } from '../../../../src/registry/storage/s3/open-s3.ts'
import { type FaultyProxy, startFaultyProxy } from '../../../support/faulty-proxy.ts'
import {
  findFullS3Server,
  freePort,
  startS3Server,
  type TestS3Server,
} from '../../../support/s3-server.ts'
import { objectStoreContract } from '../object-store.contract.ts'

const product = findFullS3Server()
const seed = Number(process.env['TSREGISTRY_S3_SEED'] ?? 1)

describe.skipIf(product === undefined)(
  `${product ?? 'S3 [skipped: no S3 server installed]'} behind a bad network, seed ${seed}`,
  () => {
    let server: TestS3Server
    let proxy: FaultyProxy
    beforeAll(async () => {
      server = await startS3Server(product ?? 'moto')
      proxy = await startFaultyProxy(server.port, seed)
    })
    afterAll(async () => {
      await proxy?.[Symbol.asyncDispose]()
      await server?.[Symbol.asyncDispose]()
    })
    const open = () =>
      openS3ObjectStore({
        ...server.options,
        endpoint: new URL(`http://127.0.0.1:${proxy.port}`),
        prefix: randomUUID(),
      })

    objectStoreContract('the store', open)

    it('large objects are whole, or refused', async () => {
      await using store = await open()
      for (let i = 0; i < 4; i++) {
        const bytes = randomBytes(18 * 1024 * 1024 + i)
        const append = await store.objects.append(`d/${i}`)
        for (let at = 0; at < bytes.length; at += 1 << 20) {
          await append.write([bytes.subarray(at, at + (1 << 20))])
        }
        await append.complete()
        const hash = createHash('sha256')
        for await (const chunk of await store.objects.open(`d/${i}`)) hash.update(chunk)
        expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
      }
    })

    it('a fault while the server is tried is not taken for a lack of it', async () => {
      const modes = new Set<string>()
      const tryOften = async () => {
        for (let i = 0; i < 15; i++) {
          await using store = await open()
          modes.add(store.findings.mode)
        }
      }
      await Promise.all([tryOften(), tryOften(), tryOften()])
      expect([...modes]).toEqual(['full'])
    })

    it('had faults of every kind', () => {
      expect(Math.min(...Object.values(proxy.faults))).toBeGreaterThan(0)
    })

    it('a server that is not there is "unavailable", soon enough for the client', async () => {
      const port = await freePort()
      const gone = { ...server.options, endpoint: new URL(`http://127.0.0.1:${port}`) }
      const started = performance.now()
      await expect(openS3ObjectStore(gone)).rejects.toSatisfy(error =>
        hasCode(error, 'unavailable'),
      )
      expect(performance.now() - started).toBeLessThan(15_000)
    })

    it('wrong credentials and a bucket that is not there are told apart, at once', async () => {
      const credentials = { accessKeyId: 'test-access', secretAccessKey: 'wrong' }
      const denied = openS3ObjectStore({ ...server.options, credentials })
      if (product !== 'moto')
        await expect(denied).rejects.toMatchObject({ hint: expect.stringMatching(/credentials/) })
      else await (await denied)[Symbol.asyncDispose]()
      const missing = openS3ObjectStore({ ...server.options, bucket: 'no-such-bucket' })
      await expect(missing).rejects.toMatchObject({
        code: 'unavailable',
        hint: expect.stringMatching(/Make the bucket/),
      })
    })
  },
)
