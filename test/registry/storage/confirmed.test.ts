/** What a replica has seen whole is not asked for again, and what was removed meanwhile is. */
import { expect, it } from 'vitest'
import { parseRepositoryName, parseTag } from '../../../src/oci/reference.ts'
import { findBlob, holdBlob, linkBlob, unlinkBlob } from '../../../src/registry/storage/blobs.ts'
import { collectGarbage } from '../../../src/registry/storage/garbage/collect-garbage.ts'
import { holderKey } from '../../../src/registry/storage/keys.ts'
import {
  deleteManifest,
  pushManifest,
  readManifest,
} from '../../../src/registry/storage/manifests.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import type { PutOptions } from '../../../src/registry/storage/object-store.ts'
import {
  createRegistryStorage,
  type RegistryStorage,
} from '../../../src/registry/storage/registry-storage.ts'
import { uploadWhole } from '../../../src/registry/storage/uploads.ts'
import { content, imageOf } from '../server/contents.ts'

/** As a bucket that tells what it is asked for. */
class ToldStore extends MemoryObjectStore {
  readonly isFar = true
  asked: string[] = []

  override get(key: string) {
    this.asked.push(`get ${key.split('/')[0]}`)
    return super.get(key)
  }

  override size(key: string) {
    this.asked.push(`size ${key.split('/')[0]}`)
    return super.size(key)
  }

  override put(key: string, bytes: Uint8Array, options?: PutOptions) {
    this.asked.push(`put ${key.split('/')[0]}`)
    return super.put(key, bytes, options)
  }
}

const [a, b] = ['a', 'b'].map(parseRepositoryName) as [
  ReturnType<typeof parseRepositoryName>,
  ReturnType<typeof parseRepositoryName>,
]
const layer = content('layer')
const image = imageOf([layer])

async function* bytesOf(bytes: Uint8Array) {
  yield bytes
}

const upload = (storage: RegistryStorage) =>
  uploadWhole(storage, a, { digest: layer.digest, bytes: bytesOf(layer.bytes) })

const push = (storage: RegistryStorage) =>
  pushManifest(storage, a, {
    bytes: image.bytes,
    contentType: image.mediaType,
    tags: [parseTag('x')],
  })

async function pushed() {
  const objects = new ToldStore()
  const storage = createRegistryStorage(objects)
  await upload(storage)
  await push(storage)
  objects.asked = []
  return { objects, storage, other: createRegistryStorage(objects) }
}

it('a push of what is there replaces its tag and its manifest, and asks for nothing', async () => {
  const { objects, storage } = await pushed()
  await push(storage)
  expect(objects.asked).toEqual(['put r', 'put r'])
})

it('a push of what another replica pushed again stores it, and looks at all that it names', async () => {
  const { objects, storage, other } = await pushed()
  await push(other)
  await push(storage)
  expect(objects.asked).toContain('get r')
  await readManifest(storage, a, { kind: 'tag', tag: parseTag('x') })
})

it('a push of what another replica deleted makes it and its tag anew', async () => {
  const { storage, other } = await pushed()
  await deleteManifest(other, a, { digest: image.digest })
  await push(storage)
  const found = await readManifest(other, a, { kind: 'tag', tag: parseTag('x') })
  expect(found.digest).toBe(image.digest)
})

it('a blob whose link is known is asked for with its bytes, and its record is not', async () => {
  const { objects, storage } = await pushed()
  for (let time = 0; time < 2; time++) {
    objects.asked = []
    expect(await holdBlob(storage, a, { digest: layer.digest })).toBeDefined()
    expect(objects.asked.sort()).toEqual(['get r', 'size d'])
  }
})

it('a blob whose bytes another replica set aside is not there, whatever is known', async () => {
  const { objects, storage } = await pushed()
  await holdBlob(storage, a, { digest: layer.digest })
  const [bytes = ''] = await objects.list('d/', { max: 1 })
  await objects.delete(bytes)
  expect(await holdBlob(storage, a, { digest: layer.digest })).toBeUndefined()
})

it('a known blob whose bytes another replica replaced is found by its record', async () => {
  const { objects, storage, other } = await pushed()
  await holdBlob(storage, a, { digest: layer.digest })
  const [bytes = ''] = await objects.list('d/', { max: 1 })
  await objects.delete(bytes)
  await uploadWhole(other, b, { digest: layer.digest, bytes: bytesOf(layer.bytes) })
  expect((await holdBlob(storage, a, { digest: layer.digest }))?.key).not.toBe(bytes)
})

it('a blob that another replica took from the repository is not there', async () => {
  const { storage, other } = await pushed()
  await unlinkBlob(other, a, layer.digest)
  expect(await holdBlob(storage, a, { digest: layer.digest })).toBeUndefined()
})

it('a link whose maker was killed before its hint gets one from whoever relies on it', async () => {
  const { objects, storage, other } = await pushed()
  const blob = await findBlob(storage, a, layer.digest)
  expect(blob !== undefined && (await linkBlob(storage, b, blob))).toBe(true)
  await objects.delete(holderKey(layer.digest, b))
  expect(await holdBlob(other, b, { digest: layer.digest })).toBeDefined()
  await pushManifest(other, b, {
    bytes: image.bytes,
    contentType: image.mediaType,
    tags: [parseTag('x')],
  })
  await deleteManifest(other, a, { digest: image.digest })
  for (let run = 0; run < 4; run++) {
    await collectGarbage(other, { graceMs: 0, uploadExpiryMs: 1e9 })
  }
  expect(await findBlob(other, a, layer.digest)).toBeUndefined()
  expect(await holdBlob(other, b, { digest: layer.digest })).toBeDefined()
})
