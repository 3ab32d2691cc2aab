/** Large layers over plain connections: a thread receives them, and Node sees their beginning alone. */
import type { ServerResponse } from 'node:http'
import { afterAll, describe, expect, test } from 'vitest'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { streamBlob, type TakeBytes } from '../../../src/registry/client/blob.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { freshDirectory, removeDirectories } from '../../layerfs/content/scratch.ts'
import { fakeRegistry } from './fake-registry.ts'
import { amd64, bytesOf, makeImage, referenceAt, seed, testClient } from './images.ts'

afterAll(removeDirectories)

const size = 3_000_000
const layer = Buffer.from(bytesOf(size, 1))

type Answer = (response: ServerResponse, start: number) => void

/** Pulls an image whose layer is answered for so, one answer after the other. */
async function pullWith(answers: readonly Answer[]) {
  const image = await makeImage([layer])
  const digest = image.layers[0]!.digest
  const ranges: (string | undefined)[] = []
  await using registry = await fakeRegistry({
    before: (request, response) => {
      if (request.url?.endsWith(`/blobs/${digest}`) !== true) return false
      const { range } = request.headers
      const answer = answers[ranges.length]
      ranges.push(range)
      answer?.(response, Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0))
      return answer !== undefined
    },
  })
  await seed(registry, image)
  const network = { timeouts: { headersMs: 5000, bodyIdleMs: 1000 } }
  await using client = testClient({ network })
  const into = openContentStore(freshDirectory())
  const pulling = pullImage(client, referenceAt(registry.host), {
    platform: amd64,
    into,
    layers: 'all',
  })
  const error = await pulling.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { error, ranges, stored: await into.find(digest) }
}

const begin = (response: ServerResponse, start: number, length = size - start) =>
  response.writeHead(start === 0 ? 200 : 206, {
    'content-length': length,
    ...(start === 0 ? {} : { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
  })

const rest: Answer = (response, start) => begin(response, start).end(layer.subarray(start))

describe('a large layer', () => {
  test('does not pass through Node, but for its beginning', async () => {
    const image = await makeImage([layer])
    await using registry = await fakeRegistry()
    await seed(registry, image)
    await using client = testClient()
    const from = referenceAt(registry.host)
    await using download = await openContentStore(freshDirectory()).download(image.layers[0]!)
    let seen = 0
    const take: TakeBytes = ({ descriptor, left, idleMs }) =>
      download!.receive!(descriptor, left, { idleMs })
    for await (const chunk of streamBlob(client, from, { descriptor: image.layers[0]!, take })) {
      if (!(chunk instanceof Uint8Array)) continue
      seen += chunk.length
      await download?.write(chunk)
    }
    expect(seen).toBeLessThan(1_000_000)
    expect(await download?.commit()).toEqual({ digest: image.layers[0]?.digest, size })
  })

  test('goes on from where the connection broke, or nothing more came', async () => {
    const broken: Answer = (response, start) =>
      begin(response, start).write(layer.subarray(start, start + 900_000), () =>
        setTimeout(() => response.destroy(), 30),
      )
    const silent: Answer = (response, start) =>
      begin(response, start).write(layer.subarray(start, start + 900_000))
    const { error, ranges, stored } = await pullWith([broken, silent, rest])
    expect(error).toBeUndefined()
    expect(ranges).toHaveLength(3)
    expect(ranges.slice(0, 2)).toEqual([undefined, 'bytes=900000-'])
    expect(ranges[2]).toBe('bytes=1800000-')
    expect(stored).toMatchObject({ size })
  })

  test('is taken from its beginning where a registry knows no ranges', async () => {
    const broken: Answer = response =>
      begin(response, 0).write(layer.subarray(0, 900_000), () =>
        setTimeout(() => response.destroy(), 30),
      )
    const { error, stored } = await pullWith([broken, response => rest(response, 0)])
    expect(error).toBeUndefined()
    expect(stored).toMatchObject({ size })
  })

  test.each([
    ['more', size + 1_000_000],
    ['less', size - 1_000_000],
  ])('of which %s comes is refused', async (_, length) => {
    const other: Answer = response => begin(response, 0, length).end(Buffer.alloc(length))
    const { error, stored } = await pullWith([other])
    expect(error).toMatchObject({ code: 'digest-mismatch' })
    expect(stored).toBeUndefined()
  })

  test('of other bytes is refused', async () => {
    const other: Answer = response => begin(response, 0).end(Buffer.alloc(size))
    const { error, stored } = await pullWith([other])
    expect(error).toMatchObject({ code: 'digest-mismatch' })
    expect(stored).toBeUndefined()
  })

  test('in pieces of which nobody says how many is read in the ordinary way', async () => {
    const chunked: Answer = response => response.writeHead(200).end(layer)
    const { error, stored } = await pullWith([chunked])
    expect(error).toBeUndefined()
    expect(stored).toMatchObject({ size })
  })
})
