import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { hexOf } from '../../../src/oci/digest.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { freshDirectory, removeDirectories } from '../../layerfs/content/scratch.ts'
import { fakeRegistry } from './fake-registry.ts'
import { amd64, bytesOf, makeImage, referenceAt, seed, testClient } from './images.ts'

afterAll(removeDirectories)

const size = 8_000_000
const layer = bytesOf(size, 1)

/** A registry that knows ranges; it hangs up after `limits[n]` bytes of the n-th answer. */
async function registryWith(limits: readonly number[]) {
  const image = await makeImage([layer])
  const ranges: (string | undefined)[] = []
  const registry = await fakeRegistry({
    before: (request, response) => {
      if (request.url?.endsWith(`/blobs/${image.layers[0]?.digest}`) !== true) return false
      const { range } = request.headers
      const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
      const limit = limits[ranges.length]
      ranges.push(range)
      response.writeHead(start === 0 ? 200 : 206, {
        'content-length': size - start,
        ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
      })
      const body = Buffer.from(layer.subarray(start, limit === undefined ? size : start + limit))
      if (limit === undefined) response.end(body)
      else response.write(body, () => setTimeout(() => response.destroy(), 50))
      return true
    },
  })
  await seed(registry, image)
  return { registry, ranges, digest: image.layers[0]?.digest }
}

async function pullInto(root: string, host: string) {
  await using client = testClient({ retry: { attempts: 1 } })
  const into = openContentStore(root)
  const bytes: number[] = []
  const pulling = pullImage(client, referenceAt(host, 'team/app:latest'), {
    platform: amd64,
    into,
    layers: 'all',
    onEvent: event => {
      if (event.kind === 'blob-progress' && event.total === size) bytes.push(event.bytes)
    },
  })
  const error = await pulling.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { into, bytes, error }
}

describe('a pull after one that failed', () => {
  test('asks for the rest only, and shows the whole as progress', async () => {
    const { registry, ranges, digest } = await registryWith([3_000_000])
    await using _registry = registry
    const root = freshDirectory()
    const first = await pullInto(root, registry.host)
    expect(first.error).toBeDefined()
    const [left = ''] = readdirSync(join(root, 'ingest'))
    expect(left).toBe(`sha256-${hexOf(digest!)}`)
    const second = await pullInto(root, registry.host)
    expect(second.error).toBeUndefined()
    expect(ranges[0]).toBeUndefined()
    const start = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1])
    expect(start).toBeGreaterThan(1_000_000)
    expect(second.bytes[0]).toBeGreaterThan(start)
    expect(second.bytes.at(-1)).toBe(size)
    expect(await second.into.find(digest!)).toMatchObject({ size })
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  test('starts over, once, when what was left is damaged', async () => {
    const { registry, ranges, digest } = await registryWith([3_000_000])
    await using _registry = registry
    const root = freshDirectory()
    await pullInto(root, registry.host)
    writeFileSync(join(root, 'ingest', `sha256-${hexOf(digest!)}`), Buffer.alloc(2_000_000))
    const { error, into } = await pullInto(root, registry.host)
    expect(error).toBeUndefined()
    expect(ranges.slice(1)).toEqual(['bytes=2000000-', undefined])
    expect(await into.find(digest!)).toMatchObject({ size })
  })

  test('brings again the documents that the disk changed since', async () => {
    const { registry } = await registryWith([])
    await using _registry = registry
    const root = freshDirectory()
    const { into } = await pullInto(root, registry.host)
    for await (const blob of into.list()) {
      if (blob.size === size) continue
      rmSync(into.pathOf(blob.digest))
      writeFileSync(into.pathOf(blob.digest), 'x'.repeat(blob.size))
    }
    const { error } = await pullInto(root, registry.host)
    expect(error).toBeUndefined()
    for await (const blob of into.list()) {
      if (blob.size !== size) expect(await into.read(blob.digest)).toHaveLength(blob.size)
    }
  })

  test('asks for nothing when all had arrived', async () => {
    const { registry, ranges, digest } = await registryWith([])
    await using _registry = registry
    const root = freshDirectory()
    {
      await using download = await openContentStore(root).download({ digest: digest!, size })
      await download?.write(layer)
    }
    const { error, into } = await pullInto(root, registry.host)
    expect(error).toBeUndefined()
    expect(ranges).toEqual([])
    expect(await into.find(digest!)).toMatchObject({ size })
  })

  test('at the same time as another receives each blob once', async () => {
    const { registry, ranges, digest } = await registryWith([])
    await using _registry = registry
    const root = freshDirectory()
    const both = await Promise.all([1, 2, 3].map(() => pullInto(root, registry.host)))
    expect(both.map(({ error }) => error)).toEqual([undefined, undefined, undefined])
    expect(ranges).toEqual([undefined])
    expect(await both[0]?.into.find(digest!)).toMatchObject({ size })
  })
})
