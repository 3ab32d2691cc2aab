import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openImageStore } from '../../../src/layerfs/image/image-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'

afterAll(removeDirectories)

function target(text: string) {
  return { mediaType: mediaTypes.manifest, digest: digestOf(text), size: text.length }
}

describe('openImageStore', () => {
  it('get() finds an image by every way to write its name', async () => {
    const images = openImageStore(join(freshDirectory(), 'images'))
    const reference = parseReference('busybox')
    await images.set({ reference, target: target('a') })
    const found = await images.get(parseReference('docker.io/library/busybox:latest'))
    expect(found).toEqual({ reference, target: target('a') })
    expect(await images.get(parseReference('busybox:1'))).toBeUndefined()
  })

  it('set() replaces what a name points at', async () => {
    const images = openImageStore(join(freshDirectory(), 'images'))
    const reference = parseReference('app:1')
    await images.set({ reference, target: target('old') })
    await images.set({ reference, target: target('new') })
    expect(await images.list()).toEqual([{ reference, target: target('new') }])
  })

  it('list() sorts by name, those without one last; several of those can be kept', async () => {
    const images = openImageStore(join(freshDirectory(), 'images'))
    for (const text of ['x', 'y']) await images.set({ target: target(text) })
    for (const name of ['zoo:1', 'localhost:5000/a/b:2', 'app']) {
      await images.set({ reference: parseReference(name), target: target(name) })
    }
    const names = (await images.list()).map(({ reference }) => reference?.repository)
    expect(names).toEqual(['library/app', 'library/zoo', 'a/b', undefined, undefined])
  })

  it('remove() says whether there was such a name', async () => {
    const images = openImageStore(join(freshDirectory(), 'images'))
    const nameless = { target: target('x') }
    await images.set(nameless)
    expect(await images.remove(nameless)).toBe(true)
    expect(await images.remove(nameless)).toBe(false)
    expect(await images.remove(parseReference('never'))).toBe(false)
    expect(await images.list()).toEqual([])
  })

  it('passes over a damaged record and a file it does not know', async () => {
    const directory = join(freshDirectory(), 'images')
    const images = openImageStore(directory)
    await images.set({ reference: parseReference('a'), target: target('a') })
    const [file = ''] = readdirSync(directory)
    writeFileSync(join(directory, file), '{"target":{}}')
    writeFileSync(join(directory, 'README'), '')
    expect(await images.list()).toEqual([])
    expect(await images.get(parseReference('a'))).toBeUndefined()
  })
})
