/** Our signature of a GET or HEAD is the one that the `minio` client makes: the second opinion. */
import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import { createGetSigner } from '../../../../src/registry/storage/s3/sign-get.ts'

type SignV4 = (
  request: object,
  ...rest: [accessKey: string, secretKey: string, region: string, date: Date, payload: string]
) => string

const { signV4 } = createRequire(import.meta.url)('minio/dist/main/signing.js') as {
  readonly signV4: SignV4
}

const now = new Date('2026-03-04T05:06:07.890Z')
const place = { host: 'bucket.example:9000', path: '/a/b%20c/%C3%BC' }

it.each([
  ['of a user', undefined],
  ['of a role', 'token+/='],
])('with the credentials %s', (_, sessionToken) => {
  const credentials = {
    accessKeyId: 'AKIA',
    secretAccessKey: 's/e+c=r',
    ...(sessionToken && { sessionToken }),
  }
  const sign = createGetSigner('eu-west-1')
  const methods = ['GET', 'HEAD'] as const
  for (const method of methods)
    for (const date of [now, new Date(now.getTime() + 86_400_000), now]) {
      const lines = sign({ method, ...place }, credentials, date)
        .trimEnd()
        .split('\r\n')
      const headers = Object.fromEntries(lines.map(line => line.split(/: (.*)/s).slice(0, 2)))
      const { authorization, ...rest } = headers
      const request = { method, path: place.path, protocol: 'http:', headers: rest }
      const theirs = signV4(request, 'AKIA', 's/e+c=r', 'eu-west-1', date, 'UNSIGNED-PAYLOAD')
      expect(authorization).toBe(theirs)
    }
})
