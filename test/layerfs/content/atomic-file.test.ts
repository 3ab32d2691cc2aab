import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  makeDirectory,
  sweepTemporaries,
  writeFileAtomic,
} from '../../../src/layerfs/content/atomic-file.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)

describe('writeFileAtomic', () => {
  it('makes the directory, replaces the file, and leaves no temporary one', async () => {
    const path = join(freshDirectory(), 'a', 'b', 'record.json')
    await writeFileAtomic(path, 'one')
    await writeFileAtomic(path, 'two', { durability: 'unsynced', mode: 0o644 })
    expect(readFileSync(path, 'utf8')).toBe('two')
    expect(statSync(path).mode & 0o777).toBe(0o644)
    expect(readdirSync(join(path, '..'))).toEqual(['record.json'])
  })

  it('shows a reader whole files only, whoever writes', async () => {
    const path = join(freshDirectory(), 'contended')
    const texts = ['a', 'b', 'c'].map(letter => letter.repeat(100_000))
    let writing = true
    const writers = Promise.all(
      texts.flatMap(text => Array.from({ length: 10 }, () => writeFileAtomic(path, text))),
    ).finally(() => {
      writing = false
    })
    while (writing) {
      await new Promise(setImmediate)
      const seen = statSync(path, { throwIfNoEntry: false }) && readFileSync(path, 'utf8')
      if (seen !== undefined) expect(texts).toContain(seen)
    }
    await writers
  })

  it('leaves the old file and no temporary one when it fails', async () => {
    const directory = freshDirectory()
    writeFileSync(join(directory, 'file'), '')
    await expect(writeFileAtomic(join(directory, 'file', 'x'), 'data')).rejects.toThrow()
    expect(readdirSync(directory)).toEqual(['file'])
  })
})

describe('sweepTemporaries', () => {
  it('removes what a killed process left an hour ago, and nothing else', async () => {
    const directory = freshDirectory()
    for (const name of ['.old.tmp', '.new.tmp', 'record.json']) {
      writeFileSync(join(directory, name), '')
    }
    utimesSync(join(directory, '.old.tmp'), 0, 0)
    utimesSync(join(directory, 'record.json'), 0, 0)
    await sweepTemporaries(directory)
    expect(readdirSync(directory).sort()).toEqual(['.new.tmp', 'record.json'])
    await sweepTemporaries(join(directory, 'absent'))
  })
})

describe('makeDirectory', () => {
  it('makes those above too, and says which is the topmost that it made', () => {
    const root = freshDirectory()
    expect(makeDirectory(join(root, 'a/b/c'))).toBe(join(root, 'a'))
    expect(makeDirectory(join(root, 'a/b/c'))).toBeUndefined()
    expect(makeDirectory(join(root, 'a/b/d'))).toBe(join(root, 'a/b/d'))
  })

  it('throws what is in its way, also where none can be made, and does not go round', () => {
    const root = freshDirectory()
    writeFileSync(join(root, 'file'), '')
    expect(() => makeDirectory(join(root, 'file'))).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    )
    expect(() => makeDirectory(join(root, 'file/x'))).toThrow(
      expect.objectContaining({ code: 'ENOTDIR' }),
    )
    expect(() => makeDirectory('/proc/none/x')).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  })
})
