/**
 * kill -9 at any moment, also of the garbage collector: what was acknowledged is whole, and the next
 * start serves it. TSREGISTRY_KILLS makes it longer.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { type Content, content, imageOf } from './contents.ts'
import { serveRegistry } from './program.ts'

/** test/e2e/kill-tsregistry.test.ts has as many again, of requests that this one does not make. */
const { TSREGISTRY_KILLS = '20' } = process.env
const rounds = Number(TSREGISTRY_KILLS)

/** What nobody needs goes almost at once, so that kills come in the middle of it. */
const collecting = ['--gc-interval', '50ms', '--gc-grace', '2s', '--log-level', 'error']

let compiled: Compiled
let root: string
beforeAll(async () => {
  compiled = compileSources()
  root = await mkdtemp(join(tmpdir(), 'tsregistry-kill-'))
}, 60_000)
afterAll(async () => {
  compiled[Symbol.dispose]()
  await rm(root, { recursive: true, force: true })
}, 60_000)

interface Acknowledged {
  readonly blobs: Map<string, Content>
  readonly tags: Map<string, Content>
  /** Location of an upload, and the bytes that were acknowledged of `bytes`. */
  readonly uploads: Map<string, { readonly bytes: Buffer; readonly size: number }>
}

it(`serve keeps every acknowledged push whole over ${rounds} kills`, {
  timeout: 120_000 + rounds * 20_000,
}, async () => {
  const acknowledged: Acknowledged = { blobs: new Map(), tags: new Map(), uploads: new Map() }
  for (let round = 0; round < rounds; round++) {
    const registry = await serveRegistry(compiled.dist, root, collecting)
    onTestFinished(async () => void (await registry.stop('SIGKILL')))
    await expectWhole(registry.port, acknowledged)
    const pushing = [0, 1, 2, 3].map(worker =>
      push(registry.port, `${round}-${worker}`, acknowledged),
    )
    // At first at any moment, then with something to lose: a busy machine is slow to push at all.
    if (round % 4 > 0) await untilPushed(acknowledged)
    await sleep(randomInt(20, 250))
    expect(await registry.stop('SIGKILL')).toBeNull()
    await Promise.all(pushing)
  }
  const registry = await serveRegistry(compiled.dist, root, collecting)
  onTestFinished(async () => void (await registry.stop('SIGKILL')))
  await expectWhole(registry.port, acknowledged)
  expect(acknowledged.tags.size).toBeGreaterThan(rounds / 4)
  expect(acknowledged.uploads.size).toBeGreaterThan(0)
  await expectResumable(registry.port, acknowledged)
  expect(await readdir(join(root, 'temporary'))).toEqual([])
  expect(await registry.stop('SIGTERM')).toBe(0)
})

async function untilPushed({ tags }: Acknowledged): Promise<void> {
  const until = Date.now() + 10_000
  for (const before = tags.size; tags.size <= before && Date.now() < until; ) await sleep(5)
}

/** Pushes images until the connection breaks. */
async function push(port: number, name: string, acknowledged: Acknowledged): Promise<void> {
  try {
    for (let i = 0; ; i++) await pushImage(port, `${name}-${i}`, acknowledged)
  } catch (error) {
    // The server is gone: that is how it should end, and nothing else.
    expect(error).toBeInstanceOf(TypeError)
  }
}

async function pushImage(port: number, tag: string, acknowledged: Acknowledged): Promise<void> {
  const layer = content(randomBytes(randomInt(1, 400_000)))
  const half = layer.bytes.length >> 1
  const url = (path: string) => `http://127.0.0.1:${port}${path}`
  const post = await fetch(url('/v2/kill/blobs/uploads/'), { method: 'POST' })
  const location = post.headers.get('location') ?? ''
  const patch = await fetch(url(location), {
    method: 'PATCH',
    body: new Uint8Array(layer.bytes.subarray(0, half)),
  })
  expect(patch.status).toBe(202)
  acknowledged.uploads.set(location, { bytes: layer.bytes, size: half })
  const put = await fetch(url(`${location}?digest=${layer.digest}`), {
    method: 'PUT',
    body: new Uint8Array(layer.bytes.subarray(half)),
  }).finally(() => acknowledged.uploads.set(location, { bytes: layer.bytes, size: -1 }))
  expect(put.status).toBe(201)
  acknowledged.uploads.delete(location)
  const manifest = imageOf([layer], { annotations: { tag } })
  const tagged = await fetch(url(`/v2/kill/manifests/${tag}`), {
    method: 'PUT',
    headers: { 'content-type': manifest.mediaType },
    body: new Uint8Array(manifest.bytes),
  })
  expect(tagged.status).toBe(201)
  acknowledged.tags.set(tag, manifest)
  // A blob alone is kept for the time of grace only.
  acknowledged.blobs.set(layer.digest, layer)
  if (randomInt(4) === 0) await forget(port, { tag, manifest, layer }, acknowledged)
}

/** Deletes the image: its layer is garbage from now on. */
async function forget(
  port: number,
  image: { readonly tag: string; readonly manifest: Content; readonly layer: Content },
  acknowledged: Acknowledged,
): Promise<void> {
  acknowledged.tags.delete(image.tag)
  acknowledged.blobs.delete(image.layer.digest)
  const url = `http://127.0.0.1:${port}/v2/kill/manifests/${image.manifest.digest}`
  expect((await fetch(url, { method: 'DELETE' })).status).toBe(202)
}

async function expectWhole(port: number, { blobs, tags }: Acknowledged): Promise<void> {
  const url = (path: string) => `http://127.0.0.1:${port}/v2/kill/${path}`
  const bytesOf = async (path: string) => {
    const answer = await fetch(url(path))
    expect([path, answer.status]).toEqual([path, 200])
    return Buffer.from(await answer.arrayBuffer())
  }
  const isBlobWhole = [...blobs.keys()].slice(-40).map(async digest => {
    expect(digestOf(await bytesOf(`blobs/${digest}`))).toBe(digest)
  })
  const isImageWhole = [...tags].slice(-40).map(async ([tag, manifest]) => {
    expect((await bytesOf(`manifests/${tag}`)).equals(manifest.bytes)).toBe(true)
    expect((await bytesOf(`manifests/${manifest.digest}`)).equals(manifest.bytes)).toBe(true)
  })
  await Promise.all([...isBlobWhole, ...isImageWhole])
  if (tags.size === 0) return
  const listed = JSON.parse((await bytesOf('tags/list?n=1000')).toString()).tags
  // Of a page that is full, which it also is of tags that nobody was told of, the rest comes next.
  const last = listed.length < 900 ? undefined : listed.at(-1)
  const due = [...tags.keys()].filter(tag => last === undefined || tag <= last)
  expect(listed).toEqual(expect.arrayContaining(due))
  // A tag that is listed can be pulled, acknowledged or not.
  await Promise.all(listed.slice(-20).map((tag: string) => bytesOf(`manifests/${tag}`)))
}

/** An upload whose PATCH was acknowledged, and nothing asked of it since, goes on. */
async function expectResumable(port: number, { uploads }: Acknowledged): Promise<void> {
  for (const [location, { bytes, size }] of uploads) {
    if (size === -1) continue
    const url = `http://127.0.0.1:${port}${location}`
    const status = await fetch(url)
    expect([status.status, status.headers.get('range')]).toEqual([
      204,
      `0-${Math.max(0, size - 1)}`,
    ])
    const put = await fetch(`${url}?digest=${digestOf(bytes)}`, {
      method: 'PUT',
      headers: { 'content-range': `${size}-${bytes.length - 1}` },
      body: new Uint8Array(bytes.subarray(size)),
    })
    expect(put.status).toBe(201)
  }
}
