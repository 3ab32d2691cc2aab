/**
 * The mode that each S3 server of this machine is used in, and with TSREGISTRY_S3_ALL the contract of
 * ObjectStore on all of them; without it, faults.test.ts has it on one. docs/s3.md has the results.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openS3ObjectStore } from '../../../../src/registry/storage/s3/open-s3.ts'
import {
  findS3Server,
  type S3Product,
  startS3Server,
  type TestS3Server,
} from '../../../support/s3-server.ts'
import { objectStoreContract } from '../object-store.contract.ts'

const modes: readonly (readonly [S3Product, mode: 'full' | 'single-writer'])[] = [
  ['versitygw', 'full'],
  ['minio', 'single-writer'],
  ['moto', 'full'],
  ['seaweedfs', 'full'],
  ['rclone', 'full'],
]

const isLong = process.env['TSREGISTRY_S3_ALL'] !== undefined

for (const [product, mode] of modes) {
  const isThere = findS3Server(product) !== undefined
  describe.skipIf(!isThere)(`${product}${isThere ? '' : ' [skipped: not installed]'}`, () => {
    let server: TestS3Server
    beforeAll(async () => {
      server = await startS3Server(product)
    })
    afterAll(() => server?.[Symbol.asyncDispose]())
    const open = () => openS3ObjectStore({ ...server.options, prefix: randomUUID() })

    it(`is used in ${mode} mode`, async () => {
      await using store = await open()
      expect(store.findings).toMatchObject({ mode })
    })

    if (isLong) objectStoreContract(product, open)
  })
}
