/** When a request is made again, and when it is given up. The clock is turned by hand. */
import { afterEach, expect, it, vi } from 'vitest'
import { hasCode } from '../../../../src/oci/errors.ts'
import { retrying } from '../../../../src/registry/storage/s3/retries.ts'
import { S3Failure } from '../../../../src/registry/storage/s3/s3-failure.ts'

afterEach(() => void vi.restoreAllMocks())

/** Each attempt takes so long, and fails so; how many there were, and the end. */
async function attempts(seconds: number, failure: () => Error) {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  let count = 0
  const end = await retrying('Cannot try', async () => {
    count++
    now += seconds * 1000
    throw failure()
  }).catch(error => error)
  return { count, isUnavailable: hasCode(end, 'unavailable'), cause: end.cause }
}

const hangUp = () => Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })

it('a connection that broke late is made once more, and then given up', async () => {
  expect(await attempts(12, hangUp)).toMatchObject({ count: 2, isUnavailable: true })
})

it('a connection that breaks is made again for ten seconds', async () => {
  expect(await attempts(3, hangUp)).toMatchObject({ count: 4, isUnavailable: true })
})

it('a storage that says nothing is given up at once', async () => {
  const silence = () => Object.assign(new Error('said nothing'), { code: 'ETIMEDOUT' })
  expect(await attempts(20, silence)).toMatchObject({ count: 1, isUnavailable: true })
})

it('what does not pass is not tried again', async () => {
  const denied = await attempts(1, () => new S3Failure(403, 'AccessDenied', 'Cannot try'))
  expect(denied).toMatchObject({ count: 1, isUnavailable: true })
})
