/** Answers that no good server gives: what they must never be taken for. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { createHealth } from '../../../../src/registry/server/operation/health.ts'
import { completeMultipart } from '../../../../src/registry/storage/s3/multipart.ts'
import { PartMemory } from '../../../../src/registry/storage/s3/part-memory.ts'
import { createS3Client, type S3Client } from '../../../../src/registry/storage/s3/s3-client.ts'
import { S3ObjectStore } from '../../../../src/registry/storage/s3/s3-object-store.ts'
import { parseS3Address } from '../../../../src/registry/storage/s3/s3-options.ts'
import { credentials } from '../../../support/s3-server.ts'

interface Scripted extends AsyncDisposable {
  readonly client: S3Client
  readonly objects: S3ObjectStore
}

async function answering(
  answer: (res: ServerResponse, request: number) => void,
): Promise<Scripted> {
  let count = 0
  const server = createServer((req, res) => {
    req.resume()
    answer(res, count++)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const address = `s3://bucket?endpoint=http://127.0.0.1:${port}`
  const client = await createS3Client(parseS3Address(address, { credentials }))
  const memory = new PartMemory(0)
  return {
    client,
    objects: new S3ObjectStore({ client, listing: 'ordered', memory, hasConditions: true }),
    [Symbol.asyncDispose]: async () => {
      client.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

const list = (inside: string) => `<ListBucketResult>${inside}</ListBucketResult>`
const error = (code: string, more = '') => `<Error><Code>${code}</Code>${more}</Error>`

describe('a list', () => {
  it.each([
    ['is something else', '<html>Sign in to the network</html>'],
    ['is empty', ''],
    ['breaks off', '<ListBucketResult><Contents><Key>a</Key></Contents>'],
    ['has more, and no way to it', list('<IsTruncated>true</IsTruncated>')],
  ])('that %s is asked for again, and not taken for all there is', async (_, broken) => {
    await using storage = await answering((res, request) =>
      res.end(request === 0 ? broken : list('<Contents><Key>b</Key></Contents>')),
    )
    expect(await storage.objects.list('', { max: 10 })).toEqual(['b'])
  })

  it('of nothing may be written short', async () => {
    await using storage = await answering(res => res.end('<ListBucketResult xmlns="x"/>\n'))
    expect(await storage.objects.list('', { max: 10 })).toEqual([])
  })
})

describe('an object', () => {
  it('that comes whole although a range was asked for is refused', async () => {
    await using storage = await answering(res => res.end('0123456789'))
    await expect(storage.objects.open('k', { start: 3, end: 6 })).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  it('that is shorter than it is known to be breaks off', async () => {
    await using storage = await answering(res => res.writeHead(206).end('012'))
    const read = async () => {
      for await (const _ of await storage.objects.open('k', { start: 0, end: 10 }));
    }
    await expect(read()).rejects.toMatchObject({ code: 'unavailable' })
  })
})

describe('a completion', () => {
  it.each([
    ['an empty answer', ''],
    ['a failure with status 200', error('InternalError')],
  ])('with %s is asked for again', async (_, first) => {
    const done = '<CompleteMultipartUploadResult></CompleteMultipartUploadResult>'
    let requests = 0
    await using storage = await answering((res, request) => {
      requests++
      res.end(request === 0 ? first : done)
    })
    const parts = [{ etag: '"0123"', size: 1 }]
    await completeMultipart(
      storage.client,
      { key: 'k', uploadId: 'u' },
      { parts, isConditional: true },
    )
    expect(requests).toBe(2)
  })
})

describe('a refusal', () => {
  it.each([
    [
      'another region',
      301,
      error('PermanentRedirect', '<Region>eu-north-1</Region>'),
      'eu-north-1',
    ],
    ['another region', 400, error('AuthorizationHeaderMalformed', '<Region>x-1</Region>'), 'x-1'],
    ['a clock that differs', 403, error('RequestTimeTooSkewed'), "Set this machine's clock"],
    ['a full disk', 507, error('XMinioStorageFull'), 'The storage is full'],
    ['a quota', 400, error('QuotaExceeded'), 'The storage is full'],
    ['no such bucket', 404, error('NoSuchBucket'), 'Make the bucket first'],
    ['no such access key', 404, error('XAdminUserNotFound'), 'look at the credentials'],
    ['a name of an object of JavaScript', 403, error('constructor'), 'look at the credentials'],
  ])('for %s (%i) says what to do', async (...[, status, document, hint]) => {
    await using storage = await answering(res => res.writeHead(status).end(document))
    await expect(storage.objects.put('k', Buffer.from('x'))).rejects.toMatchObject({
      code: 'unavailable',
      hint: expect.stringContaining(hint),
    })
  })
})

it('a bucket that is gone makes the registry unready', async () => {
  await using storage = await answering(res => res.writeHead(404).end(error('NoSuchBucket')))
  expect(await createHealth(storage.objects).whyNotReady()).toBe('unavailable')
})
