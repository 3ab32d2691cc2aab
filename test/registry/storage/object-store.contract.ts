/** What every ObjectStore must do. A driver's test calls this with a way to make an empty one. */
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../../src/oci/errors.ts'
import { listAll, type ObjectStore } from '../../../src/registry/storage/object-store.ts'

export interface TestStore extends AsyncDisposable {
  readonly objects: ObjectStore
}

const text = (value: string) => Buffer.from(value)

export function objectStoreContract(name: string, make: () => Promise<TestStore>): void {
  const put = async (objects: ObjectStore, keys: readonly string[]) => {
    for (const key of keys) await objects.put(key, text(key))
  }

  describe(`${name}: put() and get()`, () => {
    it('give back the bytes with an etag that changes with them', async () => {
      await using store = await make()
      const first = await store.objects.put('a/b', text('one'))
      const second = await store.objects.put('a/b', text('two'))
      expect(first).not.toBe(second)
      const object = await store.objects.get('a/b')
      expect(Buffer.from(object?.bytes ?? []).toString()).toBe('two')
      expect(object?.etag).toBe(second)
    })

    it('know an empty object from none', async () => {
      await using store = await make()
      await store.objects.put('empty', new Uint8Array())
      expect((await store.objects.get('empty'))?.bytes).toHaveLength(0)
      expect(await store.objects.size('empty')).toBe(0)
      expect(await store.objects.get('none')).toBeUndefined()
      expect(await store.objects.size('none')).toBeUndefined()
      expect(await store.objects.get('empty/below')).toBeUndefined()
    })

    it('keep "cached" writes as well', async () => {
      await using store = await make()
      await store.objects.put('a', text('x'), { durability: 'cached' })
      expect((await store.objects.get('a'))?.bytes).toHaveLength(1)
    })

    it('refuse to create what exists', async () => {
      await using store = await make()
      const condition = { kind: 'absent' } as const
      await store.objects.put('a', text('one'), { condition })
      const again = store.objects.put('a', text('two'), { condition })
      await expect(again).rejects.toSatisfy(error => hasCode(error, 'conflict'))
      expect(Buffer.from((await store.objects.get('a'))?.bytes ?? []).toString()).toBe('one')
    })

    it('refuse to replace what changed, and what is gone', async () => {
      await using store = await make()
      const etag = await store.objects.put('a', text('one'))
      await store.objects.put('a', text('two'))
      const condition = { kind: 'matches', etag } as const
      await expect(store.objects.put('a', text('three'), { condition })).rejects.toSatisfy(error =>
        hasCode(error, 'conflict'),
      )
      await expect(store.objects.put('b', text('three'), { condition })).rejects.toSatisfy(error =>
        hasCode(error, 'conflict'),
      )
      expect(await store.objects.get('b')).toBeUndefined()
    })

    it('let exactly one of many conditional writers win', async () => {
      await using store = await make()
      const etag = await store.objects.put('a', text('start'))
      const swaps = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          store.objects.put('a', text(`${i}`), { condition: { kind: 'matches', etag } }),
        ),
      )
      expect(swaps.filter(swap => swap.status === 'fulfilled')).toHaveLength(1)
      const creations = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          store.objects.put('new', text(`${i}`), { condition: { kind: 'absent' } }),
        ),
      )
      expect(creations.filter(creation => creation.status === 'fulfilled')).toHaveLength(1)
    })

    it('never show a mixture to a reader', async () => {
      await using store = await make()
      const versions = ['a', 'b'].map(letter => text(letter.repeat(100_000)))
      await store.objects.put('k', versions[0]!)
      const write = async () => {
        for (let i = 0; i < 30; i++) await store.objects.put('k', versions[i % 2]!)
      }
      const read = async () => {
        for (let i = 0; i < 60; i++) {
          const seen = Buffer.from((await store.objects.get('k'))?.bytes ?? []).toString()
          expect(seen).toMatch(/^(?:a{100000}|b{100000})$/)
        }
      }
      await Promise.all([write(), read()])
    })
  })

  describe(`${name}: delete()`, () => {
    it('removes, and is no error twice', async () => {
      await using store = await make()
      await store.objects.put('d/a', text('x'))
      await store.objects.delete('d/a')
      await store.objects.delete('d/a')
      expect(await store.objects.get('d/a')).toBeUndefined()
      expect(await store.objects.list('d/', { max: 10 })).toEqual([])
    })

    it('refuses what changed', async () => {
      await using store = await make()
      const etag = await store.objects.put('a', text('one'))
      const changed = await store.objects.put('a', text('two'))
      await expect(
        store.objects.delete('a', { condition: { kind: 'matches', etag } }),
      ).rejects.toSatisfy(error => hasCode(error, 'conflict'))
      await store.objects.delete('a', { condition: { kind: 'matches', etag: changed } })
      expect(await store.objects.get('a')).toBeUndefined()
    })

    it('of the last object in a folder does not disturb the creation of the next', async () => {
      await using store = await make()
      for (let i = 0; i < 50; i++) {
        await store.objects.put('d/e/old', text('x'))
        await Promise.all([
          store.objects.delete('d/e/old'),
          store.objects.put('d/e/new', text('y')),
        ])
        expect(await store.objects.size('d/e/new')).toBe(1)
        await store.objects.delete('d/e/new')
      }
    })
  })

  describe(`${name}: list()`, () => {
    const keys = ['t/A', 't/a', 't/a-b', 't/a.b', 't/a/b', 't/a0', 't/a_b', 't/b', 't/ab/c/d']

    it('is in the order of bytes, with keys that share a prefix (registry 4.6 #13)', async () => {
      await using store = await make()
      const files = keys.filter(key => key !== 't/a')
      await put(store.objects, [...files, 'u/x', 's/x'])
      expect(await store.objects.list('t/', { max: 100 })).toEqual([...files].sort())
    })

    it('goes on after any key, present or not, in pages of any size', async () => {
      await using store = await make()
      const files = keys.filter(key => key !== 't/a').sort()
      await put(store.objects, files)
      for (const startAfter of [...files, 't/', 't/a', 't/a/', 't/zzz', 't/a/a', 't/ab/c']) {
        const after = files.filter(key => key > startAfter)
        expect(await store.objects.list('t/', { startAfter, max: 100 })).toEqual(after)
        expect(await store.objects.list('t/', { startAfter, max: 2 })).toEqual(after.slice(0, 2))
      }
    })

    it('of nothing is empty', async () => {
      await using store = await make()
      expect(await store.objects.list('none/', { max: 5 })).toEqual([])
    })

    it('listAll() walks over page ends', async () => {
      await using store = await make()
      const many = Array.from({ length: 1003 }, (_, i) => `m/${String(i).padStart(4, '0')}`)
      for (let i = 0; i < many.length; i += 50) {
        const puts = many.slice(i, i + 50)
        await Promise.all(
          puts.map(key => store.objects.put(key, text(''), { durability: 'cached' })),
        )
      }
      const found: string[] = []
      for await (const key of listAll(store.objects, 'm/')) found.push(key)
      expect(found).toEqual(many)
    })
  })

  describe(`${name}: append() and open()`, () => {
    const read = async (
      objects: ObjectStore,
      key: string,
      range?: { start: number; end: number },
    ) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of await objects.open(key, range)) chunks.push(chunk)
      return Buffer.concat(chunks).toString()
    }

    it('build an object in turns', async () => {
      await using store = await make()
      const first = await store.objects.append('d/x')
      await first.write([text('ab'), text('cd')])
      const checkpoint = await first.checkpoint()
      expect(checkpoint.size).toBe(4)
      const second = await store.objects.append('d/x', checkpoint)
      await second.write([text('ef')])
      await second.complete()
      expect(await store.objects.size('d/x')).toBe(6)
      expect(await read(store.objects, 'd/x')).toBe('abcdef')
    })

    it('drop what a turn that never ended wrote', async () => {
      await using store = await make()
      const first = await store.objects.append('d/x')
      await first.write([text('keep')])
      const checkpoint = await first.checkpoint()
      {
        await using lost = await store.objects.append('d/x', checkpoint)
        await lost.write([text('lost')])
      }
      const last = await store.objects.append('d/x', checkpoint)
      await last.write([text('!')])
      await last.complete()
      expect(await read(store.objects, 'd/x')).toBe('keep!')
    })

    it('refuse to go on from bytes that are gone', async () => {
      await using store = await make()
      const append = store.objects.append('d/x', { size: 10, token: '' })
      await expect(append).rejects.toSatisfy(error => hasCode(error, 'not-found'))
    })

    it('make an empty object', async () => {
      await using store = await make()
      await (await store.objects.append('d/x')).complete()
      expect(await store.objects.size('d/x')).toBe(0)
      expect(await read(store.objects, 'd/x')).toBe('')
      expect(await read(store.objects, 'd/x', { start: 0, end: 0 })).toBe('')
    })

    it('read ranges, half-open', async () => {
      await using store = await make()
      await store.objects.put('d/x', text('0123456789'))
      expect(await read(store.objects, 'd/x', { start: 2, end: 5 })).toBe('234')
      expect(await read(store.objects, 'd/x', { start: 9, end: 10 })).toBe('9')
    })

    it('refuse to open what is not there', async () => {
      await using store = await make()
      await expect(store.objects.open('d/none')).rejects.toSatisfy(error =>
        hasCode(error, 'not-found'),
      )
    })

    it('discard() leaves nothing', async () => {
      await using store = await make()
      const append = await store.objects.append('d/x')
      await append.write([text('abc')])
      await store.objects.discard('d/x', await append.checkpoint())
      expect(await store.objects.size('d/x')).toBeUndefined()
      expect(await store.objects.list('d/', { max: 5 })).toEqual([])
    })

    it('complete an object once: no later turn cuts it, and discard() leaves it', async () => {
      await using store = await make()
      const first = await store.objects.append('d/x')
      await first.write([text('whole')])
      await first.complete()
      const again = async () => {
        await using append = await store.objects.append('d/x')
        await append.write([text('cut')])
        await append.complete()
      }
      await expect(again()).rejects.toSatisfy(error => hasCode(error, 'conflict'))
      await store.objects.discard('d/x', { size: 0, token: '' })
      expect(await read(store.objects, 'd/x')).toBe('whole')
    })
  })
}
