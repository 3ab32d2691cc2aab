/** The contract of ObjectStore on every S3 server of this machine; docs/storage.md has the results. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openS3ObjectStore } from '../../../../src/registry/storage/s3/open-s3.ts'
import {
  findFullS3Server,
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
]

/** All take a minute; without the variable, the first that is there. */
const tried = process.env['TSREGISTRY_S3_ALL'] === undefined ? [findFullS3Server()] : undefined

for (const [product, mode] of modes) {
  const isThere = findS3Server(product) !== undefined
  const isTried = tried?.includes(product) ?? true
  const why = isThere
    ? isTried
      ? ''
      : ' [skipped: TSREGISTRY_S3_ALL]'
    : ' [skipped: not installed]'
  describe.skipIf(why !== '')(`${product}${why}`, () => {
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

    objectStoreContract(product, open)
  })
}
