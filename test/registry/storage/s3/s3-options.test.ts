import { describe, expect, it } from 'vitest'
import { createS3Client } from '../../../../src/registry/storage/s3/s3-client.ts'
import { describeS3, parseS3Address } from '../../../../src/registry/storage/s3/s3-options.ts'

describe('parseS3Address()', () => {
  it('takes a bucket alone, with defaults for the rest', () => {
    expect(parseS3Address('s3://bucket')).toMatchObject({
      bucket: 'bucket',
      prefix: '',
      region: 'us-east-1',
      pathStyle: false,
    })
  })

  it('takes a prefix and options; an endpoint of its own has the bucket in its paths', () => {
    const options = parseS3Address(
      's3://my.bucket/a/b/?endpoint=http://127.0.0.1:9000&region=x&part-size=64MiB',
    )
    expect(options).toMatchObject({
      bucket: 'my.bucket',
      prefix: 'a/b',
      region: 'x',
      pathStyle: true,
    })
    expect(options.endpoint?.port).toBe('9000')
    expect(options.partSize).toBe(64 * 1024 * 1024)
    expect(describeS3(options)).toBe('s3://my.bucket/a/b')
  })

  it('asks the machine for a role at Amazon, and elsewhere only when told to', async () => {
    const elsewhere = 's3://bucket?endpoint=http://127.0.0.1:9000'
    expect(parseS3Address('s3://bucket').hasRole).toBe(true)
    expect(parseS3Address(`${elsewhere}&role=yes`).hasRole).toBe(true)
    expect(parseS3Address(elsewhere, { hasRole: true }).hasRole).toBe(true)
    await expect(createS3Client(parseS3Address(elsewhere))).rejects.toMatchObject({
      code: 'invalid',
      message: 'Cannot use storage "s3://bucket": no credentials',
    })
  })

  it('takes from the environment what the address does not say', () => {
    const defaults = {
      region: 'r',
      endpoint: 'https://e',
      credentials: { accessKeyId: 'a', secretAccessKey: 's' },
    }
    expect(parseS3Address('s3://bucket?region=q', defaults)).toMatchObject({
      region: 'q',
      pathStyle: true,
      credentials: { accessKeyId: 'a' },
    })
  })

  it.each([
    ['s3://', 'expected s3://BUCKET'],
    ['s3://UPPER', 'expected s3://BUCKET'],
    ['s3://bucket/../x', 'prefix'],
    ['s3://bucket//x', 'prefix'],
    ['s3://bucket?no=1', 'option "no" is not known'],
    ['s3://bucket?endpoint=ftp://x', 'expected an endpoint'],
    ['s3://bucket?endpoint=http://u:p@x', 'expected an endpoint'],
    ['s3://bucket?part-size=1MiB', 'at least 5MiB'],
    ['s3://bucket?path-style=maybe', 'path-style'],
    ['s3://bucket?role=maybe', 'role=yes'],
  ])('refuses %s by name', (address, message) => {
    expect(() => parseS3Address(address)).toThrow(message)
  })

  it('never repeats the options of a refused address: they may hold secrets', () => {
    expect(() => parseS3Address('s3://BUCKET?secret=hidden')).not.toThrow('hidden')
  })
})
