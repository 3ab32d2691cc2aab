import { describe, expect, test } from 'vitest'
import { type ContentStore, putBlob } from '../../../src/layerfs/content/content-store.ts'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import type { ImageRecord } from '../../../src/layerfs/image/image-store.ts'
import { findImage, listImages } from '../../../src/layerfs/runtime/local-image.ts'
import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { parsePlatform } from '../../../src/oci/platform.ts'
import { formatReference, parseReference } from '../../../src/oci/reference.ts'

const amd64 = parsePlatform('linux/amd64')
const arm64 = parsePlatform('linux/arm64')

async function put(
  content: ContentStore,
  mediaType: string,
  document: object,
): Promise<Descriptor> {
  const { digest, size } = await putBlob(content, [Buffer.from(JSON.stringify(document))])
  return { mediaType, digest, size }
}

async function putImage(
  content: ContentStore,
  architecture: string,
  label = '',
): Promise<Descriptor> {
  const config = await put(content, mediaTypes.config, {
    architecture,
    os: 'linux',
    config: { Labels: { label } },
    rootfs: { type: 'layers', diff_ids: [] },
  })
  const { manifest } = mediaTypes
  const document = { schemaVersion: 2, mediaType: manifest, config, layers: [] }
  return { ...(await put(content, manifest, document)), platform: parsePlatform(architecture) }
}

function putIndex(content: ContentStore, manifests: Descriptor[]): Promise<Descriptor> {
  return put(content, mediaTypes.index, {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests,
  })
}

function placeOf(content: ContentStore, targets: Readonly<Record<string, Descriptor>>) {
  const records: ImageRecord[] = Object.entries(targets).map(([name, target]) =>
    name === '' ? { target } : { reference: parseReference(name), target },
  )
  return {
    content,
    images: {
      list: async () => records,
      hold: async () => true,
      get: async (wanted: ReturnType<typeof parseReference>) =>
        records.find(
          ({ reference }) =>
            reference !== undefined && formatReference(reference) === formatReference(wanted),
        ),
    },
  }
}

describe('findImage()', () => {
  test('finds by name, id, start of an id, and manifest digest', async () => {
    const content = memoryStore()
    const target = await putImage(content, 'amd64')
    const place = placeOf(content, { 'app:1': target })
    const image = await findImage(place, 'app:1', amd64)
    expect(image.config.value.architecture).toBe('amd64')
    const id = image.config.digest
    const texts = ['docker.io/library/app:1', id, id.slice(7, 19), id.slice(7), target.digest]
    for (const text of [...texts, `app@${target.digest}`]) {
      expect((await findImage(place, text, amd64)).config.digest).toBe(id)
    }
  })

  test('takes a name before an id that looks like it', async () => {
    const content = memoryStore()
    const one = await putImage(content, 'amd64', 'one')
    const two = await putImage(content, 'amd64', 'two')
    const { config } = await findImage(placeOf(content, { x: one }), 'x', amd64)
    const start = config.digest.slice(7, 15)
    const place = placeOf(content, { x: one, [`${start}:latest`]: two })
    expect((await findImage(place, start, amd64)).target).toBe(two)
  })

  test('refuses a start that several ids have, but not several names of one', async () => {
    const content = memoryStore()
    const images = await Promise.all(
      Array.from({ length: 17 }, (_, i) => putImage(content, 'amd64', `${i}`)),
    )
    const place = placeOf(content, Object.fromEntries(images.map((image, i) => [`i:${i}`, image])))
    const all = await listImages(place, amd64)
    const digits = all.map(({ config }) => config.digest[7] ?? '')
    const twice = digits.find((digit, i) => digits.indexOf(digit) !== i) ?? ''
    await expect(findImage(place, twice, amd64)).rejects.toMatchObject({ code: 'invalid' })

    const one = images[0] as Descriptor
    const named = placeOf(content, { 'a:1': one, 'b:1': one })
    const id = (await findImage(named, 'a:1', amd64)).config.digest
    expect((await findImage(named, id.slice(7, 12), amd64)).target).toBe(one)
  })

  test.each([
    ['nothing', 'not-found'],
    ['sha256:00', 'not-found'],
    ['Not/A/Name', 'invalid'],
    ['', 'invalid'],
  ])('refuses "%s" as %s', async (text, code) => {
    await expect(findImage(placeOf(memoryStore(), {}), text, amd64)).rejects.toMatchObject({
      code,
    })
  })

  test('chooses the platform of an index, and takes another when only that is here', async () => {
    const content = memoryStore()
    const both = [await putImage(content, 'amd64'), await putImage(content, 'arm64')]
    const place = placeOf(content, { app: await putIndex(content, both) })
    expect((await findImage(place, 'app', amd64)).descriptor.digest).toBe(both[0]?.digest)
    expect((await findImage(place, 'app', arm64)).descriptor.digest).toBe(both[1]?.digest)

    await content.remove((both[0] as Descriptor).digest)
    const found = await findImage(place, 'app', amd64)
    expect(found.config.value.architecture).toBe('arm64')
  })
})

describe('listImages()', () => {
  test('leaves out an image whose blobs are gone', async () => {
    const content = memoryStore()
    const target = await putImage(content, 'amd64')
    const gone = await putImage(content, 'amd64', 'gone')
    await content.remove(gone.digest)
    const listed = await listImages(
      placeOf(content, { 'a:1': target, 'b:1': gone, '': target }),
      amd64,
    )
    expect(listed.map(({ reference }) => reference && formatReference(reference))).toEqual([
      'docker.io/library/a:1',
      undefined,
    ])
  })
})
