import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { type Digest, digestOf, parseDigest } from '../../../src/oci/digest.ts'
import { readBlob } from './content-store.contract.ts'
import { removeCompiled, startProcess } from './processes.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)
afterAll(removeCompiled)

/** KILL_ROUNDS makes it longer. */
const killings = Number(process.env['KILL_ROUNDS'] ?? 10)

describe('openContentStore, shared by processes', () => {
  it('two processes that commit the same blobs both succeed, and there is one copy', async () => {
    const root = freshDirectory()
    const children = [1, 2].map(() => startProcess('commit-blobs', [root, '20']))
    for (const child of children) expect(await child.ended).toBe(0)
    expect(readdirSync(join(root, 'blobs', 'sha256'))).toHaveLength(20)
    await expectSound(root)
  })

  it(
    `(1)(3) after ${killings} processes killed at any moment: all that was said is there, nothing is damaged, nothing is left`,
    async () => {
      const root = freshDirectory()
      const said = new Set<Digest>()
      for (let round = 0; round < killings; round++) {
        const child = startProcess('commit-blobs', [root, '1000', String(round)])
        await child.line()
        const killed = pause((round * 60) / killings).then(() => child.kill())
        for (let line = await child.line(); line !== undefined; line = await child.line()) {
          said.add(parseDigest(line))
        }
        await killed
        expect(await child.ended).toBeNull()
      }
      await expectSound(root)
      const store = openContentStore(root)
      for (const digest of said) expect(await store.find(digest)).toBeDefined()
      expect(said.size).toBeGreaterThan(0)
    },
    60_000 + killings * 5000,
  )
})

async function expectSound(root: string): Promise<void> {
  const store = openContentStore(root)
  await putBlob(store, [Buffer.from('the next process')])
  expect(readdirSync(join(root, 'ingest'))).toEqual([])
  for await (const { digest } of store.list()) {
    expect(digestOf(await readBlob(store, digest))).toBe(digest)
  }
}
