import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { exportArchive } from '../../../src/layerfs/image/export-image.ts'
import { openStore } from '../../../src/layerfs/store.ts'
import { parseChainId } from '../../../src/oci/digest.ts'
import { describeWith } from '../../support/requires.ts'
import { removeCompiled, startProcess } from '../content/processes.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)
afterAll(removeCompiled)

const killings = 30
const layerCount = 4
const filesPerLayer = 60

/** A saved image of a few layers of a few files each. */
async function archive(): Promise<string> {
  const content = memoryStore()
  const tars = Array.from({ length: layerCount }, (_layer, layer) => {
    const names = Array.from({ length: filesPerLayer }, (_file, file) => `l${layer}/f${file}`)
    return tarOf(Object.fromEntries(names.map(name => [name, name.repeat(500)])))
  })
  const { target } = await makeImage(content, tars)
  const parts: Uint8Array[] = []
  for await (const part of exportArchive({ images: [{ target }], content, format: 'oci' })) {
    parts.push(part)
  }
  const path = join(freshDirectory(), 'image.tar')
  writeFileSync(path, Buffer.concat(parts))
  return path
}

async function expectWhole(root: string, chain: string | undefined): Promise<void> {
  await using store = await openStore(root)
  expect(readdirSync(join(root, 'active'))).toEqual([])
  expect(readdirSync(join(root, 'snapshots'))).toHaveLength(layerCount)
  const layers = (await store.snapshots.layers(parseChainId(chain ?? ''))).toReversed()
  for (const [layer, directory] of layers.entries()) {
    expect(readdirSync(join(directory, `l${layer}`))).toHaveLength(filesPerLayer)
    for (let file = 0; file < filesPerLayer; file++) {
      const name = `l${layer}/f${file}`
      expect(readFileSync(join(directory, name), 'utf8')).toBe(name.repeat(500))
    }
  }
}

describeWith(['root'], 'unpackImage, shared by processes', () => {
  it('three processes that unpack the same image all succeed, and each layer is there once', async () => {
    const path = await archive()
    const root = freshDirectory()
    const children = [1, 2, 3].map(() => startProcess('unpack-archive', [root, path]))
    const chains = await Promise.all(
      children.map(async child => {
        await child.line()
        await child.line()
        return await child.line()
      }),
    )
    for (const child of children) expect(await child.ended).toBe(0)
    expect(new Set(chains).size).toBe(1)
    await expectWhole(root, chains[0])
  }, 60_000)

  it(`after ${killings} processes killed while importing or unpacking, the next one completes the image`, async () => {
    const path = await archive()
    const root = freshDirectory()
    for (let round = 0; round < killings; round++) {
      const child = startProcess('unpack-archive', [root, path])
      for (let lines = 0; lines <= round % 2; lines++) await child.line()
      await pause(round)
      child.kill()
      await child.ended
    }
    const last = startProcess('unpack-archive', [root, path])
    const lines = [await last.line(), await last.line(), await last.line()]
    expect(await last.ended).toBe(0)
    await expectWhole(root, lines[2])
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
    expect(existsSync(join(root, 'trash'))).toBe(true)
  }, 90_000)
})
