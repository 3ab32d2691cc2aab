import { expect, it } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { importArchive } from '../../../src/layerfs/image/import-image.ts'
import { body, end, extension, paxRecord, rawHeader } from '../tar/tar-support.ts'

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

it('importArchive() refuses names that nobody writes and that would have to be remembered', async () => {
  const name = 'n'.repeat(100_000)
  for (const long of [extension('L', `${name}\0`), extension('x', paxRecord('path', name))]) {
    const tar = Buffer.concat([long, rawHeader({ name: 'f', type: '2', link: 'x' }), end])
    await expect(importArchive(once(tar), memoryStore())).rejects.toMatchObject({
      code: 'too-large',
    })
  }
})

it('importArchive() never looks for a name among what every object has', async () => {
  const manifest = Buffer.from('[{"Config":"__proto__","RepoTags":null,"Layers":[]}]')
  const size = `${manifest.length.toString(8).padStart(11, '0')}\0`
  const tar = Buffer.concat([rawHeader({ name: 'manifest.json', size }), body(manifest), end])
  await expect(importArchive(once(tar), memoryStore())).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining('__proto__'),
  })
})
