import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { exportLayout } from '../../../src/layerfs/image/export-image.ts'
import { hexOf } from '../../../src/oci/digest.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

it('exportLayout() that fails in a blob leaves the one whole that stands there', async () => {
  const content = memoryStore()
  const { target, layers } = await makeImage(content, [tarOf({ 'etc/os-release': 'ID=test' })])
  const directory = freshDirectory()
  await exportLayout(directory, { images: [{ target }], content, format: 'oci' })
  const blobs = join(directory, 'blobs/sha256')
  const path = join(blobs, hexOf(layers[0]?.digest ?? target.digest))
  const [before, names] = [await readFile(path), readdirSync(blobs)]
  const broken = {
    find: content.find.bind(content),
    read: content.read.bind(content),
    async *open() {
      yield Buffer.from('half')
      throw new Error('The disk broke')
    },
  }
  const again = exportLayout(directory, { images: [{ target }], content: broken, format: 'oci' })
  await expect(again).rejects.toThrow('The disk broke')
  expect(await readFile(path)).toEqual(before)
  expect(readdirSync(blobs)).toEqual(names)
})
