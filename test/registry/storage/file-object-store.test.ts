import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../../src/oci/errors.ts'
import { openFileObjectStore } from '../../../src/registry/storage/filesystem/file-object-store.ts'
import { objectStoreContract, type TestStore } from './object-store.contract.ts'

interface FolderStore extends TestStore {
  readonly root: string
}

async function folderStore(): Promise<FolderStore> {
  const root = await mkdtemp(join(tmpdir(), 'tsregistry-store-'))
  const store = await openFileObjectStore(root)
  return {
    root,
    objects: store.objects,
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]()
      await rm(root, { recursive: true, force: true })
    },
  }
}

objectStoreContract('file object store', folderStore)

describe('file object store', () => {
  it('sees at once what another process put, replaced or deleted of an object it knows', async () => {
    await using store = await folderStore()
    await using other = await openFileObjectStore(store.root)
    const read = async () => Buffer.from((await store.objects.get('a'))?.bytes ?? []).toString()
    for (let round = 0; round < 12; round++) {
      await other.objects.put('a', Buffer.from(`${round % 10}`))
      expect(await read()).toBe(`${round % 10}`)
      // Long enough for it to be kept, and then too short.
      if (round % 3 === 0) await sleep(60)
      const known = await store.objects.get('a')
      if (round % 3 === 0) expect(await store.objects.get('a')).toBe(known)
      if (round % 4 === 0) await other.objects.delete('a')
      expect(await read()).toBe(round % 4 === 0 ? '' : `${round % 10}`)
    }
  })

  it('removes temporary files that a killed process left', async () => {
    const root = await mkdtemp(join(tmpdir(), 'tsregistry-store-'))
    {
      await using store = await openFileObjectStore(root)
      await store.objects.put('a', Buffer.from('x'))
      await writeFile(join(root, 'temporary', 'left'), 'half')
    }
    {
      await using store = await openFileObjectStore(root)
      expect(await readdir(join(root, 'temporary'))).toEqual([])
      expect(await store.objects.size('a')).toBe(1)
    }
    await rm(root, { recursive: true, force: true })
  })

  it('follows no symbolic link, neither in reading nor in listing', async () => {
    await using store = await folderStore()
    await store.objects.put('d/real', Buffer.from('x'))
    await symlink('/etc/passwd', join(store.root, 'objects/d/link'))
    await symlink('/etc', join(store.root, 'objects/d/folder'))
    expect(await store.objects.get('d/link')).toBeUndefined()
    expect(await store.objects.size('d/link')).toBeUndefined()
    await expect(store.objects.open('d/link')).rejects.toSatisfy(error =>
      hasCode(error, 'not-found'),
    )
    await expect(store.objects.append('d/link')).rejects.toThrow()
    expect(await store.objects.list('d/', { max: 10 })).toEqual(['d/real'])
  })

  it.each(['../x', 'a/../../x', '/x', 'a//b', 'a/./b', 'a/\0b', ''])(
    'refuses the key %j',
    async key => {
      await using store = await folderStore()
      await expect((async () => store.objects.put(key, Buffer.from('x')))()).rejects.toThrow()
      await expect((async () => store.objects.get(key))()).rejects.toThrow()
    },
  )

  it('takes the empty folders away with their last object', async () => {
    await using store = await folderStore()
    await store.objects.put('r/a/b/_t/x', Buffer.from('x'))
    await store.objects.put('r/a/_t/x', Buffer.from('x'))
    await store.objects.delete('r/a/b/_t/x')
    expect(await readdir(join(store.root, 'objects/r/a'))).toEqual(['_t'])
  })
})
