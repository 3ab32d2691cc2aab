import { execFileSync } from 'node:child_process'
import { renameSync, rmSync, symlinkSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { blobPath } from '../../../src/layerfs/image/archive-layout.ts'
import { exportLayout } from '../../../src/layerfs/image/export-image.ts'
import { importLayout } from '../../../src/layerfs/image/import-image.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

/** `layer`: the path of one, in `directory`. */
async function someLayout(): Promise<{ directory: string; layer: string }> {
  const content = memoryStore()
  const { target, layers } = await makeImage(content, [tarOf({ 'app/main': 'run' })])
  const directory = freshDirectory()
  await exportLayout(directory, { images: [{ target }], content, format: 'oci' })
  return { directory, layer: blobPath(layers[0]?.digest ?? target.digest) }
}

describe('importLayout()', () => {
  it.each(['index.json', 'oci-layout', 'a layer'])(
    'refuses a layout of which %s is a FIFO, and waits for nobody',
    async name => {
      const { directory, layer } = await someLayout()
      const path = join(directory, name === 'a layer' ? layer : name)
      rmSync(path)
      execFileSync('mkfifo', [path])
      await expect(importLayout(directory, memoryStore())).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringContaining('not a regular file'),
      })
    },
  )

  it('refuses a device in the place of a blob, unopened', async () => {
    const { directory, layer } = await someLayout()
    rmSync(join(directory, layer))
    symlinkSync('/dev/zero', join(directory, layer))
    await expect(importLayout(directory, memoryStore())).rejects.toMatchObject({ code: 'invalid' })
  })

  it('refuses an index of a terabyte, and a blob longer than promised, reading no more', async () => {
    const { directory, layer } = await someLayout()
    truncateSync(join(directory, layer), 2 ** 40)
    await expect(importLayout(directory, memoryStore())).rejects.toMatchObject({
      code: 'digest-mismatch',
    })
    truncateSync(join(directory, 'index.json'), 2 ** 40)
    await expect(importLayout(directory, memoryStore())).rejects.toMatchObject({
      code: 'too-large',
    })
  })

  it('reads a layout that is made of links', async () => {
    const { directory, layer } = await someLayout()
    const elsewhere = join(freshDirectory(), 'blob')
    renameSync(join(directory, layer), elsewhere)
    symlinkSync(elsewhere, join(directory, layer))
    expect(await importLayout(directory, memoryStore())).toHaveLength(1)
  })
})
