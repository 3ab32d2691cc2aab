/** Questions asked by a guess save time, and never tell what was true before and is no more. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { parseRepositoryName, parseTag } from '../../../src/oci/reference.ts'
import { askAhead } from '../../../src/registry/storage/ask-ahead.ts'
import { blobLinkKey, manifestKey, tagKey } from '../../../src/registry/storage/keys.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import type { StoredObject } from '../../../src/registry/storage/object-store.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'
import { content, imageOf, pushBlob, pushManifest } from '../server/contents.ts'
import { startRegistry } from '../server/registry-server.ts'

/** As a bucket: each answer takes a while, and what is read is told. */
class FarStore extends MemoryObjectStore {
  readonly isFar = true
  readonly asked: string[] = []

  override async get(key: string): Promise<StoredObject | undefined> {
    this.asked.push(key)
    await new Promise(resolve => setImmediate(resolve))
    return super.get(key)
  }

  override async open(...of: Parameters<MemoryObjectStore['open']>) {
    this.asked.push(of[0])
    await new Promise(resolve => setImmediate(resolve))
    return super.open(...of)
  }
}

const bytes = (text: string) => Buffer.from(text)

function asking() {
  const objects = new FarStore()
  const storage = createRegistryStorage(objects)
  const asked: string[] = []
  const dropped: string[] = []
  const ask = (next = async (text: string): Promise<string | undefined> => `after ${text}`) =>
    askAhead(storage, 'k', {
      next: object => {
        const text = Buffer.from(object.bytes).toString()
        asked.push(text)
        return next(text)
      },
      drop: async text => {
        dropped.push(text)
      },
    })
  return { objects, asked, dropped, ask }
}

describe('askAhead()', () => {
  it('asks both at once the second time, and by what is there the first', async () => {
    const { objects, asked, dropped, ask } = asking()
    await objects.put('k', bytes('one'))
    const first = ask()
    expect(asked).toEqual([])
    expect(await first).toBe('after one')
    const second = ask()
    expect(asked).toEqual(['one', 'one'])
    expect(await second).toBe('after one')
    expect(asked).toHaveLength(2)
    expect(dropped).toEqual([])
  })

  it('drops what it got by a guess that is wrong, and asks by what is there', async () => {
    const { objects, asked, dropped, ask } = asking()
    await objects.put('k', bytes('one'))
    await ask()
    await objects.put('k', bytes('two'))
    expect(await ask()).toBe('after two')
    expect(asked).toEqual(['one', 'one', 'two'])
    expect(dropped).toEqual(['after one'])
  })

  it('gives nothing once the object is gone, and forgets it', async () => {
    const { objects, asked, dropped, ask } = asking()
    await objects.put('k', bytes('one'))
    await ask()
    await objects.delete('k')
    expect(await ask()).toBeUndefined()
    expect(dropped).toEqual(['after one'])
    expect(await ask()).toBeUndefined()
    expect(asked).toEqual(['one', 'one'])
  })

  it('asks again when there was nothing, or a failure, before the guess was known to be right', async () => {
    const { objects, ask } = asking()
    await objects.put('k', bytes('one'))
    await ask()
    const answers = [async () => undefined, () => Promise.reject(new Error('torn'))]
    for (const early of answers) {
      let count = 0
      expect(await ask(async text => (++count === 1 ? early() : `later ${text}`))).toBe('later one')
    }
  })

  it('throws what the object’s own reading throws, and drops what came early', async () => {
    const { objects, dropped, ask } = asking()
    await objects.put('k', bytes('one'))
    await ask()
    objects.get = () => Promise.reject(new Error('down'))
    await expect(ask()).rejects.toThrow('down')
    await new Promise(resolve => setImmediate(resolve))
    expect(dropped).toEqual(['after one'])
  })
})

describe('a replica that has served an image', () => {
  const repository = parseRepositoryName('a/b')
  const target = { repository, reference: 'x' }

  async function replicas(layer = content(randomBytes(5000))) {
    const image = imageOf([layer])
    const blobPath = `/v2/a/b/blobs/${layer.digest}`
    const objects = new FarStore()
    const [one, other] = [await startRegistry({ objects }), await startRegistry({ objects })]
    expect((await pushBlob(one, repository, layer)).status).toBe(201)
    expect((await pushManifest(one, target, image)).status).toBe(201)
    for (const path of ['/v2/a/b/manifests/x', blobPath]) {
      expect((await one.send('GET', path)).status).toBe(200)
    }
    const close = async () => {
      for (const each of [one, other]) await each[Symbol.asyncDispose]()
    }
    return { objects, one, other, layer, image, blobPath, [Symbol.asyncDispose]: close }
  }

  it('asks for a tag and its manifest, and for a link and its bytes, at once', async () => {
    await using all = await replicas(content(randomBytes(2_000_000)))
    const { objects, one, layer, image, blobPath } = all
    objects.asked.length = 0
    expect((await one.send('GET', '/v2/a/b/manifests/x')).body.equals(image.bytes)).toBe(true)
    expect(objects.asked.sort()).toEqual(
      [manifestKey(repository, image.digest), tagKey(repository, parseTag('x'))].sort(),
    )
    objects.asked.length = 0
    expect((await one.send('GET', blobPath)).body.equals(layer.bytes)).toBe(true)
    expect(objects.asked).toHaveLength(2)
    expect(objects.asked).toContain(blobLinkKey(repository, layer.digest))
  })

  it('asks for a link and its bytes at once the first time too, of what it stored', async () => {
    await using all = await replicas()
    const { objects, one } = all
    const pushed = content(randomBytes(2_000_000))
    expect((await pushBlob(one, repository, pushed)).status).toBe(201)
    const { get, open } = objects
    let tell = () => {}
    const isOpened = new Promise<void>(resolve => {
      tell = resolve
    })
    objects.open = (...of) => {
      tell()
      return open.apply(objects, of)
    }
    // The link is told of once the bytes were asked for.
    objects.get = async key => {
      await isOpened
      return get.call(objects, key)
    }
    const answer = await one.send('GET', `/v2/a/b/blobs/${pushed.digest}`)
    expect(answer.body.equals(pushed.bytes)).toBe(true)
  })

  it('asks whether a small blob is there, and has its bytes', async () => {
    await using all = await replicas()
    const { objects, one, layer, blobPath } = all
    objects.asked.length = 0
    expect((await one.send('GET', blobPath)).body.equals(layer.bytes)).toBe(true)
    expect(objects.asked).toEqual([blobLinkKey(repository, layer.digest)])
  })

  it('gives bytes that it has to no repository without the blob', async () => {
    await using all = await replicas()
    const { one, layer } = all
    expect((await one.send('GET', `/v2/other/blobs/${layer.digest}`)).status).toBe(404)
  })

  it('asks for the bytes of many small blobs again: its memory has an end', async () => {
    await using all = await replicas()
    const { objects, one, layer, blobPath } = all
    for (let i = 0; i < 40; i++) {
      const other = content(randomBytes(1_000_000))
      await pushBlob(one, repository, other)
      await one.send('GET', `/v2/a/b/blobs/${other.digest}`)
    }
    objects.asked.length = 0
    expect((await one.send('GET', blobPath)).body.equals(layer.bytes)).toBe(true)
    expect(objects.asked).toHaveLength(2)
  })

  it('serves nothing that another removed', async () => {
    await using all = await replicas()
    const { one, other, blobPath } = all
    expect((await other.send('DELETE', blobPath)).status).toBe(202)
    expect((await one.send('GET', blobPath)).status).toBe(404)
    expect((await other.send('DELETE', '/v2/a/b/manifests/x')).status).toBe(202)
    expect((await one.send('GET', '/v2/a/b/manifests/x')).status).toBe(404)
  })

  it('serves what another moved the tag to', async () => {
    await using all = await replicas()
    const { one, other, layer } = all
    const moved = imageOf([layer], { annotations: { now: 'another' } })
    expect((await pushManifest(other, target, moved)).status).toBe(201)
    const answer = await one.send('GET', '/v2/a/b/manifests/x')
    expect(answer.body.equals(moved.bytes)).toBe(true)
  })

  it('asks for no bytes of a blob of which the client wants none, or a part', async () => {
    await using all = await replicas()
    const { objects, one, layer, blobPath } = all
    objects.asked.length = 0
    const headers = { 'if-none-match': `"${layer.digest}"` }
    expect((await one.send('GET', blobPath, { headers })).status).toBe(304)
    expect(objects.asked).toEqual([blobLinkKey(repository, layer.digest)])
    const part = await one.send('GET', blobPath, { headers: { range: 'bytes=1-3' } })
    expect(part.body.equals(layer.bytes.subarray(1, 4))).toBe(true)
  })
})
