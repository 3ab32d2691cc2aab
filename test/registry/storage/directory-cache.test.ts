import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { openFileObjectStore } from '../../../src/registry/storage/filesystem/file-object-store.ts'

it('pages through a large directory show every name, and each one that comes or goes at once', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tsregistry-pages-'))
  onTestFinished(() => rm(root, { recursive: true, force: true }))
  await using store = await openFileObjectStore(root)
  const { objects } = store
  await objects.put('t/a', new Uint8Array())
  const name = (i: number) => `t${String(i).padStart(5, '0')}`
  for (let i = 0; i < 3000; i++) await writeFile(join(root, 'objects/t', name(i)), '')
  await sleep(60)
  for (let round = 0; round < 20; round++) {
    expect(await objects.list('t/', { startAfter: `t/${name(99)}`, max: 2 })).toEqual([
      `t/${name(100)}`,
      `t/${name(101)}`,
    ])
    await objects.put(`t/${name(99)}-${round}`, new Uint8Array())
    const [first] = await objects.list('t/', { startAfter: `t/${name(99)}`, max: 1 })
    expect(first).toBe(`t/${name(99)}-${round}`)
    await objects.delete(`t/${name(99)}-${round}`)
    if (round % 3 === 0) await sleep(60)
  }
})
