import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openRecords } from '../../../src/layerfs/content/records.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)

describe('openRecords', () => {
  it('get() returns what was put last, and undefined for what was not', async () => {
    const records = openRecords(freshDirectory())
    await records.put('steps', 'ab12', { layer: 1 })
    await records.put('steps', 'ab12', { layer: 2 })
    expect(await records.get('steps', 'ab12')).toEqual({ layer: 2 })
    expect(await records.get('steps', 'ab13')).toBeUndefined()
    expect(await records.get('other', 'ab12')).toBeUndefined()
  })

  it('touch() makes a record as young as a new one, and none of nothing', async () => {
    const root = freshDirectory()
    const records = openRecords(root)
    await records.put('steps', 'ab', { ok: true })
    utimesSync(join(root, 'steps', 'ab.json'), 1000, 1000)
    await records.touch('steps', 'ab')
    await records.touch('steps', 'cd')
    const found = []
    for await (const { hex, usedAt } of records.list('steps')) found.push({ hex, usedAt })
    expect(found.map(({ hex }) => hex)).toEqual(['ab'])
    expect(Date.now() - (found[0]?.usedAt.getTime() ?? 0)).toBeLessThan(60_000)
  })

  it('a damaged record reads as absent, and can be put again', async () => {
    const root = freshDirectory()
    const records = openRecords(root)
    await records.put('steps', 'ab', { ok: true })
    writeFileSync(join(root, 'steps', 'ab.json'), '{"ok":')
    expect(await records.get('steps', 'ab')).toBeUndefined()
    await records.put('steps', 'ab', { ok: true })
    expect(await records.get('steps', 'ab')).toEqual({ ok: true })
  })

  it('list() tells the records of one kind with their age; remove() is idempotent', async () => {
    const root = freshDirectory()
    const records = openRecords(root)
    await Promise.all(['a', 'b', 'c'].map(hex => records.put('steps', hex, { hex })))
    await records.put('other', 'd', {})
    await records.remove('steps', 'b')
    await records.remove('steps', 'b')
    const found: string[] = []
    for await (const { hex, value, usedAt } of records.list('steps')) {
      expect(value).toEqual({ hex })
      expect(Date.now() - usedAt.getTime()).toBeLessThan(60_000)
      found.push(hex)
    }
    expect(found).toEqual(['a', 'c'])
    expect(readdirSync(join(root, 'steps'))).toEqual(['a.json', 'c.json'])
  })

  it('bytes are kept as they are, and read as absent when they are damaged', async () => {
    const root = freshDirectory()
    const records = openRecords(root)
    const bytes = Buffer.from([0, 255, 10, 0])
    await records.putBytes('lists', 'ab', bytes)
    expect(await records.getBytes('lists', 'ab')).toEqual(bytes)
    expect(await records.getBytes('lists', 'cd')).toBeUndefined()
    const found = []
    for await (const { hex, value } of records.list('lists')) found.push({ hex, value })
    expect(found).toEqual([{ hex: 'ab', value: undefined }])
    const path = join(root, 'lists', 'ab.bytes')
    const stored = readFileSync(path)
    for (const damage of [stored.subarray(0, -1), stored.subarray(0, 3), stored.fill(0, 33, 34)]) {
      writeFileSync(path, damage)
      expect(await records.getBytes('lists', 'ab')).toBeUndefined()
    }
    await records.remove('lists', 'ab')
    expect(readdirSync(join(root, 'lists'))).toEqual([])
  })

  it.each(['../x', 'AB', '', 'a/b', 'a.json'])('refuses the key "%s"', async key => {
    const records = openRecords(freshDirectory())
    await expect(async () => records.get('steps', key)).rejects.toThrow('Not a record key')
  })

  it.each(['..', 'a/b', '', '.x'])('refuses the kind "%s"', async kind => {
    const records = openRecords(freshDirectory())
    await expect(async () => records.get(kind, 'ab')).rejects.toThrow('Not a kind of record')
  })
})
