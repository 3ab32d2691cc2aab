import { execFileSync } from 'node:child_process'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import { missing } from '../../support/requires.ts'
import { contentStoreContract, downloadContract, readBlob } from './content-store.contract.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)

describe('openContentStore', () => {
  contentStoreContract(async () => openContentStore(freshDirectory()))
  downloadContract(async () => openContentStore(freshDirectory()))

  it('lays blobs out as blobs/<algorithm>/<hex>, read-only, and leaves ingest/ empty', async () => {
    const root = freshDirectory()
    const store = openContentStore(root)
    const { digest } = await putBlob(store, [Buffer.from('x')])
    const path = join(root, 'blobs', 'sha256', hexOf(digest))
    expect(store.pathOf(digest)).toBe(path)
    expect(statSync(path).mode & 0o777).toBe(0o444)
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  it('sees what another store on the same directory committed', async () => {
    const root = freshDirectory()
    const { digest } = await putBlob(openContentStore(root), [Buffer.from('shared')])
    expect((await readBlob(openContentStore(root), digest)).toString()).toBe('shared')
  })

  it('removes the ingests that nobody holds, and no others, before its first one', async () => {
    const root = freshDirectory()
    await using living = await openContentStore(root).ingest()
    await living.write(Buffer.from('still here'))
    writeFileSync(join(root, 'ingest', 'left-by-a-killed-process'), 'half a blob')
    await putBlob(openContentStore(root), [Buffer.from('next')])
    expect(readdirSync(join(root, 'ingest'))).toHaveLength(1)
    expect((await living.commit()).digest).toBe(digestOf('still here'))
  })

  it('read() refuses a document that the disk changed', async () => {
    const store = openContentStore(freshDirectory())
    const { digest } = await putBlob(store, [Buffer.from('{"a":1}')])
    await chmod(store.pathOf(digest), 0o644)
    await writeFile(store.pathOf(digest), '{"a":2}')
    await expect(store.read(digest)).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining('damaged'),
    })
  })

  it('commit() replaces a blob of the wrong size, as a power failure can leave', async () => {
    const store = openContentStore(freshDirectory())
    const { digest } = await putBlob(store, [Buffer.from('whole')])
    await chmod(store.pathOf(digest), 0o644)
    await writeFile(store.pathOf(digest), '')
    await putBlob(store, [Buffer.from('whole')])
    expect((await readBlob(store, digest)).toString()).toBe('whole')
  })

  it.each(['short', 'a'.repeat(3_000_000)])(
    'commit() replaces a blob of the right size that the disk changed',
    async text => {
      const store = openContentStore(freshDirectory())
      const { digest, size } = await putBlob(store, [Buffer.from(text)])
      await chmod(store.pathOf(digest), 0o644)
      await writeFile(store.pathOf(digest), 'x'.repeat(size))
      await putBlob(store, [Buffer.from(text)])
      expect((await readBlob(store, digest)).toString() === text).toBe(true)
    },
  )

  it('download() fetches a document again that the disk changed', async () => {
    const store = openContentStore(freshDirectory())
    const blob = await putBlob(store, [Buffer.from('{"a":1}')])
    await chmod(store.pathOf(blob.digest), 0o644)
    await writeFile(store.pathOf(blob.digest), '{"a":2}')
    await using download = await store.download(blob)
    await download?.write(Buffer.from('{"a":1}'))
    expect(await download?.commit()).toEqual(blob)
    expect(Buffer.from(await store.read(blob.digest)).toString()).toBe('{"a":1}')
  })

  it('list() passes over files that are no blobs', async () => {
    const root = freshDirectory()
    await mkdir(join(root, 'blobs', 'sha256'), { recursive: true })
    await mkdir(join(root, 'blobs', 'md5'))
    await writeFile(join(root, 'blobs', 'sha256', 'README'), '')
    await writeFile(join(root, 'blobs', 'sha256', 'Z'.repeat(64)), '')
    const names: string[] = []
    for await (const info of openContentStore(root).list()) names.push(info.digest)
    expect(names).toEqual([])
  })

  it.skipIf(missing(['root']) !== undefined)(
    'a full disk is a clear error, leaves nothing, and the store works once there is room (needs root)',
    async () => {
      const root = freshDirectory()
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root])
      try {
        const store = openContentStore(root)
        await expect(putBlob(store, [Buffer.alloc(3 << 20, 1)])).rejects.toMatchObject({
          code: 'unavailable',
          message: expect.stringContaining('no space left'),
          hint: expect.any(String),
        })
        expect(readdirSync(join(root, 'ingest'))).toEqual([])
        const { digest } = await putBlob(store, [Buffer.alloc(500_000, 1)])
        expect(await readBlob(store, digest)).toHaveLength(500_000)
      } finally {
        execFileSync('umount', [root])
      }
    },
  )
})
