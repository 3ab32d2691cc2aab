import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openStore } from '../../src/layerfs/store.ts'
import { freshDirectory, removeDirectories } from './content/scratch.ts'

afterAll(removeDirectories)

describe('openStore', () => {
  it('makes a directory that only its owner can enter (CVE-2021-41091)', async () => {
    const root = join(freshDirectory(), 'a', 'store')
    await using store = await openStore(root)
    expect(store.root).toBe(root)
    expect(statSync(root).mode & 0o777).toBe(0o700)
  })

  it('narrows a directory that others can enter', async () => {
    const root = freshDirectory()
    chmodSync(root, 0o755)
    await using store = await openStore(root)
    expect(statSync(store.root).mode & 0o777).toBe(0o700)
  })

  it('follows a symbolic link to the directory, once', async () => {
    const parent = freshDirectory()
    mkdirSync(join(parent, 'disk'))
    symlinkSync('disk', join(parent, 'link'))
    await using store = await openStore(join(parent, 'link'))
    expect(store.root).toBe(join(parent, 'disk'))
  })

  it('says what is in its way when the directory cannot be made', async () => {
    const file = join(freshDirectory(), 'file')
    writeFileSync(file, '')
    await expect(openStore(join(file, 'store'))).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(file),
      hint: expect.any(String),
    })
  })

  it('refuses the layout of another version, naming both', async () => {
    const root = freshDirectory()
    writeFileSync(join(root, 'version'), '99\n')
    await expect(openStore(root)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/expected layout version 1, found "99"/),
    })
  })

  it('can be opened by several at once, the first time too', async () => {
    const root = freshDirectory()
    const stores = await Promise.all(Array.from({ length: 5 }, () => openStore(root)))
    expect(new Set(stores.map(store => store.root)).size).toBe(1)
  })

  it('discards what dead processes left, and deletes none of it now', async () => {
    const root = freshDirectory()
    for (const left of ['tmp/dead', 'active/dead/fs', 'locks', 'ingest']) {
      mkdirSync(join(root, left), { recursive: true })
    }
    writeFileSync(join(root, 'ingest', 'dead'), 'half a blob')
    writeFileSync(join(root, 'locks', 'old'), '')
    utimesSync(join(root, 'locks', 'old'), 0, 0)
    await using _store = await openStore(root)
    expect(readdirSync(join(root, 'tmp'))).toEqual([])
    expect(readdirSync(join(root, 'active'))).toEqual([])
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
    expect(existsSync(join(root, 'locks', 'old'))).toBe(false)
    expect(readdirSync(join(root, 'trash'))).toHaveLength(2)
  })

  it('tempDir() is gone when disposed; another open store leaves it alone', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const temporary = await store.tempDir()
    await using _other = await openStore(root)
    expect(existsSync(temporary.path)).toBe(true)
    await temporary[Symbol.asyncDispose]()
    expect(existsSync(temporary.path)).toBe(false)
  })

  it('trash.empty() by several at once deletes everything, and none of them fails', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    for (let i = 0; i < 5; i++) {
      const { path, ...temporary } = await store.tempDir()
      for (let file = 0; file < 50; file++) writeFileSync(join(path, `${file}`), '')
      await temporary[Symbol.asyncDispose]()
    }
    await Promise.all([1, 2, 3].map(() => store.trash.empty()))
    await store.trash.empty()
    expect(readdirSync(join(root, 'trash'))).toEqual([])
  })

  it('trash.empty() deletes what is old enough', async () => {
    const root = freshDirectory()
    await using store = await openStore(root)
    const { path, ...temporary } = await store.tempDir()
    mkdirSync(join(path, 'deep', 'er'), { recursive: true })
    await temporary[Symbol.asyncDispose]()
    await store.trash.empty({ minAgeMs: 60_000 })
    expect(readdirSync(join(root, 'trash'))).toHaveLength(1)
    await store.trash.empty()
    expect(readdirSync(join(root, 'trash'))).toEqual([])
  })
})
