import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { hasCode } from '../../../src/oci/errors.ts'
import { parseRepositoryName } from '../../../src/oci/reference.ts'
import { findBlob, openBlob } from '../../../src/registry/storage/blobs.ts'
import { openFileObjectStore } from '../../../src/registry/storage/filesystem/file-object-store.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import type { ObjectStore } from '../../../src/registry/storage/object-store.ts'
import {
  createRegistryStorage,
  type RegistryStorage,
} from '../../../src/registry/storage/registry-storage.ts'
import { expireUploads } from '../../../src/registry/storage/upload-expiry.ts'
import {
  appendToUpload,
  cancelUpload,
  finishUpload,
  startUpload,
  uploadedSize,
  uploadWhole,
} from '../../../src/registry/storage/uploads.ts'

const repository = parseRepositoryName('a/b')

async function* chunks(...parts: readonly (Uint8Array | string | Error)[]) {
  for (const part of parts) {
    if (part instanceof Error) throw part
    yield Buffer.from(part)
  }
}

/** A source that gives its last part only when it is told to. */
function held(first: string, last: string) {
  let release = () => {}
  const released = new Promise<void>(resolve => {
    release = resolve
  })
  async function* bytes() {
    yield Buffer.from(first)
    await released
    yield Buffer.from(last)
  }
  return { bytes: bytes(), release: () => release() }
}

async function contents(storage: RegistryStorage, text: Uint8Array | string): Promise<Buffer> {
  const blob = await findBlob(storage, repository, digestOf(text))
  if (blob === undefined) throw new Error('No such blob')
  const found: Uint8Array[] = []
  for await (const chunk of await openBlob(storage, blob)) found.push(chunk)
  return Buffer.concat(found)
}

/** The store, but for some of its methods. */
function bound(store: ObjectStore, others: Partial<ObjectStore>): ObjectStore {
  return new Proxy(store, {
    get: (target, name) => {
      const member = Reflect.get(others, name) ?? Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

const isConflict = (error: unknown) => hasCode(error, 'conflict')

describe('an upload over a folder', () => {
  it('whose process was killed when its bytes were complete cannot harm the blob', async () => {
    const root = await mkdtemp(join(tmpdir(), 'tsregistry-uploads-'))
    onTestFinished(() => rm(root, { recursive: true, force: true }))
    await using store = await openFileObjectStore(root)
    const storage = createRegistryStorage(store.objects)
    const killed = () => Promise.reject(new Error('killed'))
    // What a kill leaves: the blob is there, and so is the session.
    const dying = { ...storage, objects: bound(store.objects, { delete: killed }) }
    const { id } = await startUpload(storage, repository)
    const finish = { digest: digestOf('whole'), chunk: { bytes: chunks('whole') } }
    await expect(finishUpload(dying, { repository, id }, finish)).rejects.toThrow('killed')
    const again = { digest: digestOf('cut'), chunk: { bytes: chunks('cut') } }
    await expect(finishUpload(storage, { repository, id }, again)).rejects.toSatisfy(error =>
      hasCode(error, 'not-found'),
    )
    await cancelUpload(storage, { repository, id })
    expect((await contents(storage, 'whole')).toString()).toBe('whole')
  })

  it('goes on after a restart, its bytes hashed again', async () => {
    const root = await mkdtemp(join(tmpdir(), 'tsregistry-uploads-'))
    const bytes = randomBytes(300_000)
    let id: string
    {
      await using store = await openFileObjectStore(root)
      const storage = createRegistryStorage(store.objects)
      id = (await startUpload(storage, repository)).id
      await appendToUpload(
        storage,
        { repository, id },
        { bytes: chunks(bytes.subarray(0, 200_000)) },
      )
    }
    {
      await using store = await openFileObjectStore(root)
      const storage = createRegistryStorage(store.objects)
      expect(await uploadedSize(storage, { repository, id })).toBe(200_000)
      const chunk = { bytes: chunks(bytes.subarray(200_000)) }
      await finishUpload(storage, { repository, id }, { digest: digestOf(bytes), chunk })
      expect((await contents(storage, bytes)).equals(bytes)).toBe(true)
    }
    await rm(root, { recursive: true, force: true })
  })
})

describe('an upload between two replicas over one store', () => {
  const replicas = (): [RegistryStorage, RegistryStorage, ObjectStore] => {
    const objects = new MemoryObjectStore()
    return [createRegistryStorage(objects), createRegistryStorage(objects), objects]
  }

  it('may come to either with each request (registry 4.6 #11)', async () => {
    const [one, two] = replicas()
    const { id } = await startUpload(one, repository)
    for (const [i, storage] of [two, one, two].entries()) {
      const range = { first: i * 3, last: i * 3 + 2 }
      await appendToUpload(storage, { repository, id }, { bytes: chunks('abc'), range })
    }
    const finish = { digest: digestOf('abcabcabc'), chunk: { bytes: chunks() } }
    await finishUpload(one, { repository, id }, finish)
    expect((await contents(two, 'abcabcabc')).toString()).toBe('abcabcabc')
    await expect(uploadedSize(two, { repository, id })).rejects.toSatisfy(error =>
      hasCode(error, 'not-found'),
    )
  })

  it('taken over while one writes: the one that lost cannot move the offset', async () => {
    const [one, two] = replicas()
    const { id } = await startUpload(one, repository)
    const slow = held('slow', '!')
    const losing = appendToUpload(one, { repository, id }, { bytes: slow.bytes })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(await appendToUpload(two, { repository, id }, { bytes: chunks('fast') })).toBe(4)
    slow.release()
    await expect(losing).rejects.toSatisfy(isConflict)
    expect(await uploadedSize(two, { repository, id })).toBe(4)
  })

  it('finished by both at once becomes one blob', async () => {
    const [one, two] = replicas()
    const { id } = await startUpload(one, repository)
    await appendToUpload(one, { repository, id }, { bytes: chunks('abc') })
    const finish = () => ({ digest: digestOf('abc'), chunk: { bytes: chunks() } })
    const results = await Promise.allSettled([
      finishUpload(one, { repository, id }, finish()),
      finishUpload(two, { repository, id }, finish()),
    ])
    expect(results.filter(result => result.status === 'fulfilled').length).toBeLessThanOrEqual(1)
    const [winner] = results.filter(result => result.status === 'fulfilled')
    if (winner !== undefined) expect((await contents(one, 'abc')).toString()).toBe('abc')
  })
})

describe('an upload', () => {
  const start = async () => {
    const objects = new MemoryObjectStore()
    const storage = createRegistryStorage(objects)
    const { id } = await startUpload(storage, repository)
    return { objects, storage, address: { repository, id } }
  }

  it('keeps what came before the client went away, and its hash', async () => {
    const { storage, address } = await start()
    const broken = { bytes: chunks('abc', new Error('gone')) }
    await expect(appendToUpload(storage, address, broken)).rejects.toThrow('gone')
    expect(await uploadedSize(storage, address)).toBe(3)
    const finish = { digest: digestOf('abcdef'), chunk: { bytes: chunks('def') } }
    await finishUpload(storage, address, finish)
    expect((await contents(storage, 'abcdef')).toString()).toBe('abcdef')
  })

  it('keeps what came before a PUT broke off', async () => {
    const { storage, address } = await start()
    const digest = digestOf('abcdef')
    const broken = { digest, chunk: { bytes: chunks('abc', new Error('gone')) } }
    await expect(finishUpload(storage, address, broken)).rejects.toThrow('gone')
    expect(await uploadedSize(storage, address)).toBe(3)
    await finishUpload(storage, address, { digest, chunk: { bytes: chunks('def') } })
    expect((await contents(storage, 'abcdef')).toString()).toBe('abcdef')
  })

  it('of sha512 without a hint is hashed a second time', async () => {
    const { storage, address } = await start()
    await appendToUpload(storage, address, { bytes: chunks('abc') })
    const digest = digestOf('abc', 'sha512')
    const blob = await finishUpload(storage, address, { digest, chunk: { bytes: chunks() } })
    expect(blob).toMatchObject({ digest, size: 3 })
  })

  it('cannot be cancelled while it is written to', async () => {
    const { storage, address } = await start()
    const slow = held('abc', 'def')
    const writing = appendToUpload(storage, address, { bytes: slow.bytes })
    await new Promise(resolve => setTimeout(resolve, 20))
    await expect(cancelUpload(storage, address)).rejects.toSatisfy(isConflict)
    slow.release()
    await writing
    await cancelUpload(storage, address)
  })

  it('with other bytes than the digest leaves no object', async () => {
    const { objects, storage, address } = await start()
    const finish = { digest: digestOf('x'), chunk: { bytes: chunks('y') } }
    await expect(finishUpload(storage, address, finish)).rejects.toSatisfy(error =>
      hasCode(error, 'digest-mismatch'),
    )
    for (const prefix of ['b/', 'd/', 'r/', 'u/', 'x/']) {
      expect(await objects.list(prefix, { max: 10 })).toEqual([])
    }
  })

  it('whole, broken off, leaves no object', async () => {
    const { objects, storage } = await start()
    const upload = { digest: digestOf('x'), bytes: chunks('abc', new Error('gone')) }
    await expect(uploadWhole(storage, repository, upload)).rejects.toThrow('gone')
    expect(await objects.list('d/', { max: 10 })).toEqual([])
  })

  it('of bytes that are there already keeps the first copy only', async () => {
    const { objects, storage } = await start()
    for (const name of ['a', 'b', 'c']) {
      const upload = { digest: digestOf('same'), bytes: chunks('same') }
      await uploadWhole(storage, parseRepositoryName(name), upload)
    }
    expect(await objects.list('d/', { max: 10 })).toHaveLength(1)
  })
})

describe('expireUploads()', () => {
  it('ends uploads that nobody wrote to for long, with their bytes, and no others', async () => {
    const objects = new MemoryObjectStore()
    let now = new Date('2026-01-01T00:00:00Z')
    const storage = createRegistryStorage(objects, { now: () => now })
    const old = await startUpload(storage, repository)
    const used = await startUpload(storage, repository)
    for (const { id } of [old, used]) {
      await appendToUpload(storage, { repository, id }, { bytes: chunks('abc') })
    }
    now = new Date('2026-01-02T00:00:00Z')
    await appendToUpload(storage, { repository, id: used.id }, { bytes: chunks('def') })
    expect(await expireUploads(storage, 12 * 3600_000)).toBe(1)
    await expect(uploadedSize(storage, { repository, id: old.id })).rejects.toSatisfy(error =>
      hasCode(error, 'not-found'),
    )
    expect(await uploadedSize(storage, { repository, id: used.id })).toBe(6)
  })

  it('leaves an upload that is being written to', async () => {
    const storage = createRegistryStorage(new MemoryObjectStore())
    const { id } = await startUpload(storage, repository)
    const slow = held('abc', 'def')
    const writing = appendToUpload(storage, { repository, id }, { bytes: slow.bytes })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(await expireUploads(storage, -1000)).toBe(0)
    slow.release()
    expect(await writing).toBe(6)
  })
})
