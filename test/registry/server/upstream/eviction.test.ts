/** Copies that nobody uses go, together with the garbage; those that are used stay. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { collectGarbage } from '../../../../src/registry/storage/garbage/collect-garbage.ts'
import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import { listAll } from '../../../../src/registry/storage/object-store.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { content, imageOf, pushBlob, pushManifest } from '../contents.ts'
import { putImage, putIndex, startThrough, startUpstream } from './through.ts'

const hour = 3600_000
const day = 24 * hour

async function started() {
  let time = Date.parse('2026-01-01T00:00:00Z')
  const now = () => new Date(time)
  const objects = new MemoryObjectStore()
  const upstream = await startUpstream()
  const settings = { objects, now, url: upstream.url, keepMs: 7 * day }
  const registry = await startThrough(settings)
  const storage = createRegistryStorage(objects, { now })
  return {
    upstream,
    registry,
    settings,
    storage,
    pass: (ms: number) => {
      time += ms
    },
    /** Several times, for what goes makes more go. */
    async collect() {
      for (let run = 0; run < 5; run++) {
        time += 2 * hour
        const unusedCopiesMs = (name: string) => (name.startsWith('up/') ? 7 * day : undefined)
        await collectGarbage(storage, { graceMs: hour, uploadExpiryMs: day, unusedCopiesMs })
      }
    },
    async keys(prefix: string) {
      const keys: string[] = []
      for await (const key of listAll(objects, prefix)) keys.push(key)
      return keys
    },
    async pull(path: string) {
      expect((await registry.send('GET', `/v2/up/app/${path}`)).status).toBe(200)
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

test('a copy goes whole when it was not used for the time, and nothing else does', async () => {
  await using at = await started()
  const layer = content(randomBytes(1000))
  const ours = content('ours')
  putImage(at.upstream, 'v1', [layer])
  await at.pull('manifests/v1')
  await at.pull(`blobs/${layer.digest}`)
  await pushBlob(at.registry, 'ours', ours)
  await pushManifest(at.registry, { repository: 'ours', reference: 'v1' }, imageOf([ours]))
  at.pass(6 * day)
  await at.collect()
  expect(await at.keys('r/up/')).not.toEqual([])
  at.pass(day)
  await at.collect()
  expect(await at.keys('r/up/')).toEqual([])
  expect(await at.keys('c/')).toEqual(['c/ours'])
  expect(await at.keys('d/')).toHaveLength(1)
  await at.pull('manifests/v1')
})

test('a copy stays while its tag is asked for, with the parts of its index', async () => {
  await using at = await started()
  const image = putImage(at.upstream, 'amd64', [content('layer')])
  putIndex(at.upstream, 'multi', [image])
  await at.pull('manifests/multi')
  await at.pull(`manifests/${image.digest}`)
  for (let time = 0; time < 4; time++) {
    at.pass(5 * day)
    await at.pull('manifests/multi')
    await at.collect()
  }
  at.upstream.requests()
  await at.pull(`manifests/${image.digest}`)
  expect(at.upstream.requests()).toEqual([])
})

test('a copy that is asked for by its digest stays, while its upstream is away too', async () => {
  await using at = await started()
  const image = putImage(at.upstream, 'v1', [content('layer')])
  await at.pull(`manifests/${image.digest}`)
  at.upstream.fault = (_, response) => Boolean(response.destroy())
  for (let time = 0; time < 4; time++) {
    at.pass(5 * day)
    // Each as a process that was started anew: what was used is in the storage.
    await using registry = await startThrough(at.settings)
    const answer = await registry.send('GET', `/v2/up/app/manifests/${image.digest}`)
    expect(answer.status).toBe(200)
    await at.collect()
  }
  expect(await at.keys('r/up/app/_m/')).toHaveLength(1)
})

test('a tag that moves leaves no history, and what it pointed at goes', async () => {
  await using at = await started()
  putImage(at.upstream, 'latest', [content('old')])
  await at.pull('manifests/latest')
  at.pass(day)
  putImage(at.upstream, 'latest', [content('new')])
  for (let time = 0; time < 3; time++) {
    at.pass(3 * day)
    await at.pull('manifests/latest')
    await at.collect()
  }
  expect(await at.keys('r/up/app/_th/')).toEqual([])
  expect(await at.keys('r/up/app/_m/')).toHaveLength(1)
})
