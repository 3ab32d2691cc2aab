/** `type=s3` caches, on a real server where the machine has one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missing } from '../support/requires.ts'
import { findFullS3Server, startS3Server, type TestS3Server } from '../support/s3-server.ts'
import { openWorkspace, type Store } from './workspace.ts'

const product = findFullS3Server()
const lacks = missing(['root', 'build', 'busybox']) ?? (product === undefined ? 'an S3 server' : '')
const title = `tsbuild --cache-to type=s3${lacks === '' ? '' : ` [skipped: needs ${lacks}]`}`

describe.skipIf(lacks !== '')(title, () => {
  const work = openWorkspace('cache-s3')
  let server: TestS3Server
  beforeAll(async () => {
    server = await startS3Server(product ?? 'moto')
  })
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    await work.close()
  })

  test('another machine finds every step in the bucket, and fetches what it needs', async () => {
    const dockerfile =
      'FROM busybox\nRUN head -c 9000000 /dev/urandom > /large\nRUN md5sum /large > /sum'
    const context = work.write('context', { Dockerfile: dockerfile })
    const cache = 'type=s3,bucket=registry,prefix=caches,name=main;branch'
    const env = { ...server.environment, AWS_ENDPOINT_URL: `http://127.0.0.1:${server.port}` }
    const build = (store: Store, ...flags: string[]) =>
      store.tsbuild(['--progress', 'plain', '-t', 'app', ...flags, context], { env })
    const sumIn = async (store: Store) =>
      (await store.tsrun(['--rm', '--network', 'none', 'app', 'cat', '/sum'])).stdout
    const first = await work.storeWithBusybox('first')
    await build(first, '--cache-to', `${cache},mode=max`)
    const second = await work.storeWithBusybox('second')
    const { stderr } = await build(second, '--cache-from', cache)
    expect(stderr.match(/CACHED \(from cache s3:\/\/registry\/caches:main;branch\)/g)).toHaveLength(
      2,
    )
    expect(await sumIn(second)).toBe(await sumIn(first))
    const again = await build(first, '--cache-to', `${cache},mode=max`)
    expect(again.stderr.match(/\(already there\)/g)).toHaveLength(2)
  })
})
