/** What operators set up works over a bucket of a real S3 server as over a folder. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { distributionPrograms, startDockerRegistry } from '../registry/client/docker-registry.ts'
import { eventsOf, startReceiver } from '../registry/notifications/receiver.ts'
import { type Content, content, imageOf } from '../registry/server/contents.ts'
import { missing } from '../support/requires.ts'
import { startReplicas } from '../support/s3-replicas.ts'
import {
  bucketName,
  credentials,
  findS3Server,
  startS3Server,
  type TestS3Server,
} from '../support/s3-server.ts'
import { openWorkspace } from './workspace.ts'

const product = 'versitygw'
const lacks = findS3Server(product) === undefined ? product : missing(['build'])

const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
/** Of more than one part in a bucket. */
const layer = content(randomBytes(12 * 1024 * 1024))
const image = imageOf([layer])

async function push(base: string, tag: string): Promise<void> {
  for (const { digest, bytes } of [config, layer]) {
    const begun = await fetch(`${base}/blobs/uploads/`, { method: 'POST' })
    const location = new URL(begun.headers.get('location') ?? '', base)
    location.searchParams.set('digest', digest)
    const answer = await fetch(location, { method: 'PUT', body: new Uint8Array(bytes) })
    expect(answer.status).toBe(201)
  }
  expect((await pushTag(base, tag)).status).toBe(201)
}

const pushTag = (base: string, tag: string, { mediaType, bytes }: Content = image) =>
  fetch(`${base}/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: new Uint8Array(bytes),
  })

async function expectWhole(base: string, tag: string): Promise<void> {
  const accept = { headers: { accept: image.mediaType } }
  for (const [path, { digest }] of [
    [`manifests/${tag}`, image],
    [`blobs/${config.digest}`, config],
    [`blobs/${layer.digest}`, layer],
  ] as const) {
    const answer = await fetch(`${base}/${path}`, accept)
    const bytes = Buffer.from(await answer.arrayBuffer())
    expect([path, answer.status, digestOf(bytes)]).toEqual([path, 200, digest])
  }
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !isSo(); await sleep(50)) {
    if (Date.now() > end) throw new Error('It did not come to be')
  }
}

describe.skipIf(lacks !== undefined)(
  `over a bucket of ${product}${lacks === undefined ? '' : ` [skipped: needs ${lacks}]`}`,
  () => {
    const work = openWorkspace('s3-operation')
    let server: TestS3Server
    beforeAll(async () => {
      server = await startS3Server(product)
    })
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]()
      await work.close()
    })
    const below = (prefix: string) => ({
      ...server,
      address: server.address.replace('?', `/${prefix}?`),
    })
    const urlOf = (port: number | undefined, name: string) => `http://127.0.0.1:${port}/v2/${name}`

    test('a replica gives what another pulled through, also when the upstream is gone', async () => {
      const upstream = await work.serve()
      await push(`http://${upstream.address}/v2/app`, '1')
      const flags = ['--upstream', `up=${upstream.address}`]
      const replicas = await startReplicas(below('through'), 2, flags)
      const [one, two] = replicas.map(({ port }) => urlOf(port, 'up/app'))
      try {
        // At once: they are one copy, and each client has it whole.
        await Promise.all(Array.from({ length: 6 }, () => expectWhole(`${one}`, '1')))
        await upstream.stop()
        await expectWhole(`${two}`, '1')
        expect((await pushTag(`${two}`, '2')).status).toBe(405)
        expect((await fetch(`${two}/manifests/2`)).status).toBe(503)
      } finally {
        await Promise.all(replicas.map(replica => replica.stop('SIGTERM')))
      }
    })

    test('a replica tells what another had still to tell when it was killed', async () => {
      await using receiver = await startReceiver()
      receiver.answer(503)
      const files = work.write('notified', {
        'config.yml': `version: 0.1
notifications: {endpoints: [{name: a, url: "${receiver.url}", backoff: 50ms}]}
tsregistry: {notifications: {queue: ${work.path('queue')}}}
`,
      })
      const replicas = await startReplicas(below('notified'), 2, [`${files}/config.yml`])
      const [dies, stays] = replicas.map(({ port }) => urlOf(port, 'app'))
      try {
        await push(`${dies}`, 'a')
        for (const tag of ['b', 'c']) expect((await pushTag(`${dies}`, tag)).status).toBe(201)
        expect((await pushTag(`${stays}`, 'd')).status).toBe(201)
        await until(() => receiver.posts.length > 2)
        await replicas[0]?.stop('SIGKILL')
        const before = receiver.posts.length
        receiver.answer(204)
        const told = () =>
          eventsOf(receiver.posts.slice(before)).flatMap(({ target }) => target.tag ?? [])
        await until(() => told().length >= 4)
        expect(told().sort()).toEqual(['a', 'b', 'c', 'd'])
      } finally {
        await Promise.all(replicas.map(replica => replica.stop('SIGTERM')))
      }
    })

    const [program] = distributionPrograms().toReversed()
    test.skipIf(program === undefined)(
      `what distribution stored in it is copied${program === undefined ? ' [skipped: needs docker-registry]' : ''}`,
      async () => {
        const driver = `s3: {bucket: ${bucketName}, rootdirectory: /theirs, region: us-east-1, regionendpoint: "http://127.0.0.1:${server.port}", forcepathstyle: true, secure: false, accesskey: ${credentials.accessKeyId}, secretkey: ${credentials.secretAccessKey}}`
        {
          await using theirs = await startDockerRegistry({ program: `${program}`, driver })
          await push(`http://${theirs.host}/v2/team/app`, '1')
        }
        const copy = (from: string, to: string) => {
          const options = { env: { ...work.env, ...server.environment } }
          const args = ['copy', '--from', from, '--to', to]
          return work.store('copier').attempt('tsregistry', args, options)
        }
        const { address } = below('theirs')
        const to = `filesystem:${work.path('copied')}`
        const copied = await copy(`distribution:${address}`, to)
        expect(copied.stderr + copied.stdout).toMatch(
          /Copied 2 blobs .*, 1 manifests, 1 tags; 0 damaged/,
        )
        const again = await copy(`distribution:${address}`, to)
        expect(again.stdout).toMatch(/^Copied 0 blobs \(0B\), 0 manifests, 0 tags/)
        const ours = await work.serve(['--root', work.path('copied')])
        await expectWhole(`http://${ours.address}/v2/team/app`, '1')
        const nothing = await copy(`distribution:${below('none').address}`, to)
        expect(nothing).toMatchObject({
          code: 1,
          stderr: expect.stringMatching(/expected "docker\/registry\/v2\/" in it/),
        })
      },
    )
  },
)
