/**
 * Several `tsregistry serve` on one folder: any of them takes any request, also of one upload, and all
 * of them see at once what each has done.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { type Content, content, imageOf } from './contents.ts'
import { type ServedRegistry, serveRegistry } from './program.ts'

let compiled: Compiled
let root: string
let servers: ServedRegistry[]
const flags = ['--gc-interval', '50ms', '--gc-grace', '1s', '--log-level', 'info']
const start = () => serveRegistry(compiled.dist, root, flags)

beforeAll(async () => {
  compiled = compileSources()
  root = await mkdtemp(join(tmpdir(), 'tsregistry-processes-'))
  servers = await Promise.all([start(), start(), start()])
}, 60_000)
afterAll(async () => {
  for (const server of servers) await server.stop('SIGTERM')
  compiled[Symbol.dispose]()
  await rm(root, { recursive: true, force: true })
})

let turn = 0
/** Each call goes to the next process. */
const send = (method: string, path: string, init: RequestInit = {}) => {
  turn = (turn + 1) % servers.length
  return fetch(`http://127.0.0.1:${servers[turn]?.port}${path}`, { method, ...init })
}

const bodyOf = ({ bytes, mediaType }: Content, headers = {}) => ({
  body: new Uint8Array(bytes),
  headers: { 'content-type': mediaType, ...headers },
})

async function pushBlob(name: string, blob: Content): Promise<void> {
  const path = `/v2/${name}/blobs/uploads/?digest=${blob.digest}`
  expect((await send('POST', path, bodyOf(blob))).status).toBe(201)
}

async function push(name: string, tag: string, layers: readonly Content[]): Promise<Content> {
  for (const layer of layers) await pushBlob(name, layer)
  const image = imageOf(layers, { annotations: { tag } })
  expect((await send('PUT', `/v2/${name}/manifests/${tag}`, bodyOf(image))).status).toBe(201)
  return image
}

describe('several processes on one folder', () => {
  it('take the requests of one upload in turns, with a range and without (registry 4.6 #11)', async () => {
    const blob = content(randomBytes(500_000))
    for (const isRanged of [true, false]) {
      const begun = await send('POST', `/v2/turns${isRanged}/blobs/uploads/`)
      let location = begun.headers.get('location') ?? ''
      for (let at = 0; at < blob.bytes.length; at += 100_000) {
        const headers = isRanged ? { 'content-range': `${at}-${at + 99_999}` } : {}
        const body = new Uint8Array(blob.bytes.subarray(at, at + 100_000))
        const patched = await send('PATCH', location, { body, headers })
        expect(patched.status).toBe(202)
        expect(patched.headers.get('range')).toBe(`0-${at + 99_999}`)
        location = patched.headers.get('location') ?? ''
        const asked = await send('GET', location)
        expect(asked.headers.get('range')).toBe(`0-${at + 99_999}`)
      }
      expect((await send('PUT', `${location}?digest=${blob.digest}`)).status).toBe(201)
      const pulled = await send('GET', `/v2/turns${isRanged}/blobs/${blob.digest}`)
      expect(Buffer.from(await pulled.arrayBuffer()).equals(blob.bytes)).toBe(true)
      expect((await send('GET', location)).status).toBe(404)
    }
  })

  it('have one writer of an upload: who comes while another writes is told 416 and harms nothing', async () => {
    const [first = '', second = ''] = ['one', 'two'].map(word => word.repeat(50_000))
    const begun = await send('POST', '/v2/writers/blobs/uploads/')
    const location = begun.headers.get('location') ?? ''
    const [one, two] = servers
    const writing = request({ port: one?.port, path: location, method: 'PATCH' })
    const answered = new Promise<number>(resolve => {
      writing.on('response', answer => resolve(answer.resume().statusCode ?? 0))
    })
    writing.write(first.slice(0, 70_000))
    const refused = async () => {
      const url = `http://127.0.0.1:${two?.port}${location}`
      return (await fetch(url, { method: 'PATCH', body: second })).status
    }
    // Until the first has begun the second may be first: an empty upload is then begun anew.
    await sleep(300)
    expect(await refused()).toBe(416)
    expect(
      (await fetch(`http://127.0.0.1:${two?.port}${location}`, { method: 'DELETE' })).status,
    ).toBe(416)
    writing.end(first.slice(70_000))
    expect(await answered).toBe(202)
    const { digest } = content(first)
    expect((await send('PUT', `${location}?digest=${digest}`)).status).toBe(201)
    const pulled = await send('GET', `/v2/writers/blobs/${digest}`)
    expect(await pulled.text()).toBe(first)
  })

  it('let exactly one of thirty pushes create a tag, and one of thirty replace it', async () => {
    const images = Array.from({ length: 30 }, (_, i) => imageOf([], { annotations: { i: `${i}` } }))
    const race = async (headers: Record<string, string>) => {
      const answers = await Promise.all(
        images.map(image => send('PUT', '/v2/race/manifests/t', bodyOf(image, headers))),
      )
      return answers.map(({ status }) => status).sort()
    }
    const once = [201, ...images.slice(1).map(() => 412)]
    expect(await race({ 'if-none-match': '*' })).toEqual(once)
    const current = (await send('HEAD', '/v2/race/manifests/t')).headers.get('etag') ?? ''
    const others = await race({ 'if-match': current })
    // The winner's own manifest may be the one that was there: then it changed nothing.
    expect(others.filter(status => status === 201).length).toBeLessThanOrEqual(2)
    expect(others.filter(status => status === 201).length).toBeGreaterThan(0)
  })

  it('lose none of 60 tags pushed at once to one repository', async () => {
    const image = imageOf([])
    const tags = Array.from({ length: 60 }, (_, i) => `t${String(i).padStart(2, '0')}`)
    const answers = await Promise.all(
      tags.map(tag => send('PUT', `/v2/many/manifests/${tag}`, bodyOf(image))),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    for (let i = 0; i < servers.length; i++) {
      const list = (await (await send('GET', '/v2/many/tags/list')).json()) as { tags: string[] }
      expect(list.tags).toEqual(tags)
    }
    expect((await send('DELETE', `/v2/many/manifests/${image.digest}`)).status).toBe(202)
    for (let i = 0; i < servers.length; i++) {
      expect((await send('HEAD', '/v2/many/manifests/t00')).status).toBe(404)
    }
  })

  it('collect garbage while all of them push: nothing that was acknowledged is missing', async () => {
    const layers = Array.from({ length: 4 }, () => content(randomBytes(2000)))
    const kept: { readonly name: string; readonly image: Content; readonly layers: Content[] }[] =
      []
    const worker = async (id: number) => {
      for (let i = 0; i < 6; i++) {
        const name = `shared${id % 2}`
        const chosen = layers.filter((_, n) => (n + i + id) % 2 === 0)
        const image = await push(name, `w${id}-${i}`, [...chosen, content(randomBytes(500))])
        if (i % 3 === 0)
          expect((await send('DELETE', `/v2/${name}/manifests/${image.digest}`)).status).toBe(202)
        else kept.push({ name, image, layers: chosen })
      }
    }
    await Promise.all([0, 1, 2, 3, 4, 5].map(worker))
    for (const { name, image, layers } of kept) {
      expect((await send('GET', `/v2/${name}/manifests/${image.digest}`)).status).toBe(200)
      for (const { digest } of layers) {
        expect((await send('GET', `/v2/${name}/blobs/${digest}`)).status, digest).toBe(200)
      }
    }
    expect(kept).toHaveLength(24)
    // Each run of the collector is one process's; none has failed.
    for (const server of servers) expect(server.log()).not.toMatch(/"level":"error"/)
  })

  it('go on without one that was killed, also with the upload that it was writing', async () => {
    const blob = content(randomBytes(400_000))
    const doomed = await start()
    const begun = await send('POST', '/v2/killed/blobs/uploads/')
    const location = begun.headers.get('location') ?? ''
    const half = new Uint8Array(blob.bytes.subarray(0, 200_000))
    expect((await send('PATCH', location, { body: half })).status).toBe(202)
    const writing = request({ port: doomed.port, path: location, method: 'PATCH' })
    writing.on('error', () => {})
    writing.write(randomBytes(150_000))
    await sleep(300)
    expect(await doomed.stop('SIGKILL')).toBeNull()
    const asked = await send('GET', location)
    expect(asked.headers.get('range')).toBe('0-199999')
    const rest = new Uint8Array(blob.bytes.subarray(200_000))
    expect((await send('PUT', `${location}?digest=${blob.digest}`, { body: rest })).status).toBe(
      201,
    )
    const pulled = await send('GET', `/v2/killed/blobs/${blob.digest}`)
    expect(Buffer.from(await pulled.arrayBuffer()).equals(blob.bytes)).toBe(true)
    expect(await readdir(join(root, 'temporary'))).toEqual([])
  })
})
