/** kill -9 while something is pulled through: nothing of it is seen, and the next pull has it right. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openFileObjectStore } from '../../../../src/registry/storage/filesystem/file-object-store.ts'
import { collectGarbage } from '../../../../src/registry/storage/garbage/collect-garbage.ts'
import { listAll } from '../../../../src/registry/storage/object-store.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { type Compiled, compileSources } from '../../../support/compiled.ts'
import { content } from '../contents.ts'
import { serveRegistry } from '../program.ts'
import { putImage, startUpstream } from './through.ts'

let compiled: Compiled
let root: string
beforeAll(async () => {
  compiled = compileSources()
  root = await mkdtemp(join(tmpdir(), 'tsregistry-kill-through-'))
}, 120_000)
afterAll(async () => {
  compiled[Symbol.dispose]()
  await rm(root, { recursive: true, force: true })
})

test('a kill in the middle of a blob leaves nothing that is read, and nothing that stays', {
  timeout: 120_000,
}, async () => {
  await using upstream = await startUpstream()
  const layer = content(randomBytes(4 * 1024 * 1024))
  putImage(upstream, 'v1', [layer])
  const flags = ['--upstream', `up=${upstream.host}`, '--log-level', 'warn']
  const first = await serveRegistry(compiled.dist, root, flags)
  const url = (port: number, path: string) => `http://127.0.0.1:${port}/v2/up/app/${path}`
  expect((await fetch(url(first.port, 'manifests/v1'))).status).toBe(200)
  upstream.fault = (_, response) => {
    response.writeHead(200, { 'content-length': layer.bytes.length })
    response.write(layer.bytes.subarray(0, 3 * 1024 * 1024))
    return true
  }
  const response = await fetch(url(first.port, `blobs/${layer.digest}`))
  const reader = response.body?.getReader()
  for (let size = 0; size < 2 * 1024 * 1024; ) size += (await reader?.read())?.value?.length ?? 0
  await first.stop('SIGKILL')

  await using store = await openFileObjectStore(root)
  const { objects } = store
  const keys = async (prefix: string) => {
    const found = []
    for await (const key of listAll(objects, prefix)) found.push(key)
    return found
  }
  expect(await keys('r/up/app/_b/')).toEqual([])
  expect(await keys('b/')).toEqual([])
  upstream.fault = undefined
  const second = await serveRegistry(compiled.dist, root, flags)
  const whole = await fetch(url(second.port, `blobs/${layer.digest}`))
  expect(Buffer.from(await whole.arrayBuffer()).equals(layer.bytes)).toBe(true)
  expect(await second.stop('SIGTERM')).toBe(0)
  const storage = createRegistryStorage(objects)
  await collectGarbage(storage, { graceMs: 3600_000, uploadExpiryMs: -1 })
  expect(await keys('u/')).toEqual([])
  expect(await keys('d/')).toHaveLength(1)
})
