/**
 * Three replicas over one bucket of a real S3 server, every request to the next of them: real docker,
 * our own client, many at once, and a soak with kills. TSREGISTRY_S3_SOAK_MS makes that longer.
 */
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { buildSuite, runSuite, type Suite } from '../registry/conformance/suite.ts'
import { type Content, content, imageOf } from '../registry/server/contents.ts'
import { missing } from '../support/requires.ts'
import { type RoundRobin, startRoundRobin } from '../support/round-robin.ts'
import { type Replica, startReplicas } from '../support/s3-replicas.ts'
import { findS3Server, freePort, startS3Server, type TestS3Server } from '../support/s3-server.ts'
import { startDocker } from './docker-daemon.ts'
import { openWorkspace } from './workspace.ts'

const { TSREGISTRY_S3_SOAK_MS = '3000' } = process.env
const soakMs = Number(TSREGISTRY_S3_SOAK_MS)
/** At once. */
const tagCount = process.env['TSREGISTRY_S3_ALL'] === undefined ? 60 : 200
/** One that keeps its data when it is killed. */
const product = 'versitygw'
const lacks = findS3Server(product) === undefined ? product : missing(['build'])
const MiB = 1024 * 1024

describe.skipIf(lacks !== undefined)(
  `three replicas over ${product}${lacks === undefined ? '' : ` [skipped: needs ${lacks}]`}`,
  () => {
    const work = openWorkspace('s3')
    let server: TestS3Server
    let replicas: readonly Replica[] = []
    let balancer: RoundRobin
    beforeAll(async () => {
      server = await startS3Server(product)
      const collecting = ['--gc-interval', '1s', '--gc-grace', '2s']
      replicas = await startReplicas(server, 3, [...collecting, '--missing-references', 'refuse'])
      balancer = await startRoundRobin(() => replicas.map(({ port }) => port))
    })
    afterAll(async () => {
      await balancer?.[Symbol.asyncDispose]()
      await Promise.all(replicas.map(replica => replica.stop('SIGTERM')))
      await server?.[Symbol.asyncDispose]()
      await work.close()
    })

    const send = (method: string, path: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${balancer.port}${path}`, { ...init, method })
    const pushBlob = (name: string, blob: Content) =>
      send('POST', `/v2/${name}/blobs/uploads/?digest=${blob.digest}`, {
        body: new Uint8Array(blob.bytes),
      })
    const pushManifest = (name: string, tag: string, image: Content) =>
      send('PUT', `/v2/${name}/manifests/${tag}`, {
        headers: { 'content-type': image.mediaType },
        body: new Uint8Array(image.bytes),
      })

    test('take the chunks of one upload wherever they come', async () => {
      const bytes = randomBytes(12 * MiB)
      const start = await send('POST', '/v2/chunks/blobs/uploads/')
      const location = start.headers.get('location') ?? ''
      const step = 3 * MiB + 17
      for (let at = 0; at < bytes.length; at += step) {
        const chunk = bytes.subarray(at, at + step)
        const answer = await send('PATCH', location, {
          headers: { 'content-range': `${at}-${at + chunk.length - 1}` },
          body: new Uint8Array(chunk),
        })
        expect(answer.status).toBe(202)
      }
      const digest = digestOf(bytes)
      expect((await send('PUT', `${location}?digest=${digest}`)).status).toBe(201)
      const pulled = await send('GET', `/v2/chunks/blobs/${digest}`)
      expect(digestOf(Buffer.from(await pulled.arrayBuffer()))).toBe(digest)
      expect(Math.min(...balancer.sent)).toBeGreaterThan(0)
    })

    test('say that they are ready, and on what: to probes, in metrics and the log', async () => {
      const answer = await send('GET', '/readyz')
      expect([answer.status, await answer.text()]).toEqual([200, 'storage: s3, full\n'])
      const debug = await freePort()
      const [replica] = await startReplicas(server, 1, [
        ...['--debug-addr', `127.0.0.1:${debug}`, '--log-level', 'info'],
      ])
      try {
        const metrics = await (await fetch(`http://127.0.0.1:${debug}/metrics`)).text()
        expect(metrics).toContain('tsregistry_storage_info{driver="s3aws",mode="full"} 1')
        await vi.waitUntil(() => replica?.log().includes('"mode":"full"'), 5000)
      } finally {
        await replica?.stop('SIGTERM')
      }
    })

    test(`lose none of ${tagCount} tags that are pushed at once`, async () => {
      const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
      expect((await pushBlob('tags', config)).status).toBe(201)
      const names = Array.from({ length: tagCount }, (_, i) => `t${String(i).padStart(3, '0')}`)
      const answers = await Promise.all(
        names.map((tag, i) => {
          // Some of one image: what they push is the same object, by several replicas at once.
          const annotations = { n: `${i % 20 === 0 ? 0 : i}` }
          return pushManifest('tags', tag, imageOf([], { annotations }))
        }),
      )
      expect(answers.map(({ status }) => status).filter(status => status !== 201)).toEqual([])
      const list = (await (await send('GET', '/v2/tags/tags/list')).json()) as { tags: string[] }
      expect(list.tags).toEqual(names)
    })

    test('let one of many pushes set a tag that must not be there', async () => {
      const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
      await pushBlob('once', config)
      const pushes = Array.from({ length: 12 }, (_, i) => {
        const image = imageOf([], { annotations: { n: `${i}` } })
        return send('PUT', '/v2/once/manifests/x', {
          headers: { 'content-type': image.mediaType, 'if-none-match': '*' },
          body: new Uint8Array(image.bytes),
        })
      })
      const statuses = (await Promise.all(pushes)).map(({ status }) => status)
      expect(statuses.filter(status => status === 201)).toHaveLength(1)
      expect(statuses.filter(status => status === 412)).toHaveLength(11)
    })

    const noBusybox = missing(['root', 'busybox'])
    test.skipIf(noBusybox !== undefined)('serve our own client', async () => {
      const [one, two] = [await work.storeWithBusybox('one'), work.store('two')]
      const image = `127.0.0.1:${balancer.port}/own/busybox:1`
      await one.tsbuild(['tag', 'busybox', image])
      await one.tsbuild(['push', image])
      await two.tsbuild(['pull', image])
      const [pushed, pulled] = [
        await one.tsbuild(['inspect', '--format', '{{.Id}}', image]),
        await two.tsbuild(['inspect', '--format', '{{.Id}}', image]),
      ]
      expect(pulled.stdout).toBe(pushed.stdout)
    })

    test('are filled from a folder by copy, which goes on where it was', async () => {
      const registry = await work.serve()
      const blob = content(randomBytes(100_000))
      const image = imageOf([blob])
      const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
      const base = `http://${registry.address}/v2/moved`
      for (const { digest, bytes } of [blob, config]) {
        const body = new Uint8Array(bytes)
        await fetch(`${base}/blobs/uploads/?digest=${digest}`, { method: 'POST', body })
      }
      const headers = { 'content-type': image.mediaType }
      const body = new Uint8Array(image.bytes)
      await fetch(`${base}/manifests/v1`, { method: 'PUT', headers, body })
      const places = ['--from', `filesystem:${work.path('registry-0')}`, '--to', server.address]
      const copy = () =>
        work.store('copier').attempt('tsregistry', ['copy', ...places], { env: server.environment })
      expect((await copy()).stdout).toMatch(/Copied 2 blobs .*, 1 manifests, 1 tags; 0 damaged/)
      expect((await copy()).stdout).toBe(
        'Copied 0 blobs (0B), 0 manifests, 0 tags; 0 damaged at the source\n',
      )
      const pulled = await send('GET', '/v2/moved/manifests/v1')
      expect(digestOf(Buffer.from(await pulled.arrayBuffer()))).toBe(image.digest)
    })

    const suite: Suite =
      lacks === undefined
        ? buildSuite(work.path('suite'))
        : { kind: 'absent', reason: `needs ${lacks}` }
    test.skipIf(suite.kind === 'absent')(
      `pass the OCI conformance suite${suite.kind === 'absent' ? ` [skipped: ${suite.reason}]` : ''}`,
      { timeout: 120_000 },
      async () => {
        if (suite.kind === 'absent') throw new Error(suite.reason)
        const address = server.address.replace('?', '/conformance?')
        const others = await startReplicas({ ...server, address }, 3)
        await using round = await startRoundRobin(() => others.map(({ port }) => port))
        try {
          const at = { port: round.port, folder: work.path('conformance') }
          const { counts, report } = await runSuite(suite.path, at)
          expect(counts, report).toMatchObject({ errors: 0, failures: 0, skipped: 0, disabled: 0 })
          expect(counts.tests).toBeGreaterThanOrEqual(1032)
          expect(Math.min(...round.sent)).toBeGreaterThan(100)
        } finally {
          await Promise.all(others.map(replica => replica.stop('SIGTERM')))
        }
      },
    )

    const noDocker = missing(['root', 'busybox', 'docker'])
    test.skipIf(noDocker !== undefined)(
      `serve real docker${noDocker === undefined ? '' : ` [skipped: needs ${noDocker}]`}`,
      async () => {
        const daemon = await startDocker(work)
        try {
          const image = `127.0.0.1:${balancer.port}/docker/large:1`
          const context = work.write('context', {
            Dockerfile: 'FROM scratch\nCOPY noise /\nCMD ["x"]\n',
            noise: randomBytes(12 * MiB).toString('base64'),
          })
          await daemon.docker(['build', '-q', '-t', image, context])
          const id = (await daemon.docker(['image', 'inspect', '-f', '{{.Id}}', image])).stdout
          await daemon.docker(['push', image])
          await daemon.docker(['rmi', image])
          await daemon.docker(['pull', image])
          expect((await daemon.docker(['image', 'inspect', '-f', '{{.Id}}', image])).stdout).toBe(
            id,
          )
        } finally {
          await daemon.stop()
        }
      },
    )

    test(`every image acknowledged during ${soakMs} ms of kills and restarts can be pulled`, {
      timeout: soakMs + 120_000,
    }, async () => {
      const until = Date.now() + soakMs
      const rounds = Array.from({ length: 3 }, (_, worker) => soak(worker, until))
      const harm = disturb(until)
      const pushed = await Promise.all(rounds)
      await harm
      expect(Math.min(...pushed)).toBeGreaterThan(0)
    })

    /** One replica after the other, and now and then the S3 server, by SIGKILL. */
    const disturb = async (until: number) => {
      for (let i = 0; Date.now() < until; i++) {
        await sleep(1200)
        if (i % 3 === 1) await server.restart()
        const victim = replicas[i % replicas.length]
        await victim?.stop('SIGKILL')
        await sleep(200)
        await victim?.start()
      }
    }

    /** Layers are shared by all workers, so that one deletes what another is about to use. */
    const layers = Array.from({ length: 3 }, (_, i) => content(randomBytes(20_000 + i)))
    const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))

    const soak = async (worker: number, until: number) => {
      let round = 0
      for (; Date.now() < until || round === 0; round++) {
        const own = layers.filter((_, i) => (round + i + worker) % 3 !== 0)
        const image = imageOf(own, { annotations: { by: `${worker}`, round: `${round}` } })
        await push([config, ...own], image, `w${worker}`)
        for (const { digest } of [config, ...own]) {
          const path = `/v2/soak/blobs/${digest}`
          await pullable(path, digest)
          // Of a replica that remembers the blob, what is in the bucket.
          await pullable(path, digest, { range: 'bytes=0-' })
        }
        await pullable(`/v2/soak/manifests/${image.digest}`, image.digest)
        const removed = await eventually('DELETE', `/v2/soak/manifests/${image.digest}`, {})
        // 404: the answer of an attempt that was done got lost.
        expect([202, 404]).toContain(removed.status)
        if (round % 3 === 2) await sleep(1500)
      }
      return round
    }

    /** As a client does that is told of a failure: all of it once more. */
    const push = async (blobs: readonly Content[], image: Content, tag: string) => {
      for (let attempt = 0; attempt < 60; attempt++) {
        for (const blob of blobs) {
          const path = `/v2/soak/blobs/${blob.digest}`
          if ((await eventually('HEAD', path, {})).status === 200) continue
          const sent = await eventually('POST', `/v2/soak/blobs/uploads/?digest=${blob.digest}`, {
            body: new Uint8Array(blob.bytes),
          })
          expect(sent.status).toBe(201)
        }
        const answer = await eventually('PUT', `/v2/soak/manifests/${tag}`, {
          headers: { 'content-type': image.mediaType },
          body: new Uint8Array(image.bytes),
        })
        if (answer.status === 201) return
        // Its blobs were collected between the question and the push: it is told which.
        expect([answer.status, (await answer.text()).includes('BLOB_UNKNOWN')]).toEqual([404, true])
      }
      throw new Error('No push was acknowledged in 60 attempts')
    }

    const pullable = async (
      path: string,
      digest: string,
      headers: Readonly<Record<string, string>> = {},
    ) => {
      const answer = await eventually('GET', path, { headers })
      expect([path, answer.status]).toEqual([path, 'range' in headers ? 206 : 200])
      const bytes = Buffer.from(await answer.arrayBuffer())
      expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(digest)
    }

    /** The first answer that is none of a server that is away. */
    const eventually = async (
      method: string,
      path: string,
      init: RequestInit,
    ): Promise<Response> => {
      for (let attempt = 0; attempt < 200; attempt++) {
        const answer = await send(method, path, init).catch(() => undefined)
        if (answer !== undefined && answer.status < 500) {
          const body = await answer.arrayBuffer().catch(() => undefined)
          if (body !== undefined) return rebuilt(answer, method, body)
        }
        await sleep(100)
      }
      throw new Error(`${method} ${path}: no answer`)
    }

    const rebuilt = ({ status, headers }: Response, method: string, body: ArrayBuffer) =>
      new Response(method === 'HEAD' || status === 204 ? null : body, { status, headers })
  },
)
