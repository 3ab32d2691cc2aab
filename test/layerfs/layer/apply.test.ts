import { describe, expect, test } from 'vitest'
import {
  dir,
  type EntryDraft,
  file,
  hardlink,
  layerBench,
  listTree,
  symlink,
  whiteout,
} from './layer-support.ts'

/** What the merged tree shows after applying the stacks, lowest first. */
async function shown(...stack: (readonly EntryDraft[])[]): Promise<string[]> {
  using bench = layerBench()
  for (const layer of stack) await bench.apply(layer)
  using view = bench.view()
  return listTree(view)
}

const base = [dir('d'), file('d/a'), file('d/b'), file('f'), dir('d/sub'), file('d/sub/x')]

describe('applyLayer()', () => {
  test('A2 keeps the last of several entries with one path', async () => {
    expect(await shown([file('f', 'one'), file('f', 'two')])).toEqual(['f "two"'])
    expect(await shown([file('f', 'one'), dir('f'), file('f/x')])).toEqual(['f dir', 'f/x "f/x"'])
    expect(await shown([dir('f'), file('f/x'), file('f', 'two')])).toEqual(['f "two"'])
  })

  test('A3 a whiteout hides what lower layers have, marker and all', async () => {
    expect(await shown(base, [whiteout('.wh.f'), dir('d'), whiteout('d/.wh.a')])).toEqual([
      'd dir',
      'd/b "d/b"',
      'd/sub dir',
      'd/sub/x "d/sub/x"',
    ])
  })

  test('A3 a whiteout never hides its own layer, before or after', async () => {
    expect(await shown([file('f', 'old')], [whiteout('.wh.f'), file('f', 'new')])).toEqual([
      'f "new"',
    ])
    expect(await shown([file('f', 'old')], [file('f', 'new'), whiteout('.wh.f')])).toEqual([
      'f "new"',
    ])
    expect(await shown(base, [dir('d'), file('d/n'), whiteout('.wh.d')])).toEqual([
      'd dir',
      'd/n "d/n"',
      'f "f"',
    ])
    expect(await shown(base, [{ ...dir('.wh.f') }])).not.toContain('f "f"')
  })

  test.each(['.wh.', '.wh..', '.wh...', 'd/.wh.', 'd/.wh..', 'd/.wh...', '.wh.d/x'])(
    'A4 refuses "%s"',
    async path => {
      await expect(shown(base, [whiteout(path)])).rejects.toMatchObject({ code: 'invalid' })
    },
  )

  test('A5 opaque hides lower children, wherever it stands among its siblings', async () => {
    const expected = ['d dir', 'd/n "d/n"', 'f "f"']
    const opaque = whiteout('d/.wh..wh..opq')
    expect(await shown(base, [dir('d'), opaque, file('d/n')])).toEqual(expected)
    expect(await shown(base, [dir('d'), file('d/n'), opaque])).toEqual(expected)
    expect(await shown(base, [opaque, dir('d'), file('d/n')])).toEqual(expected)
    expect(await shown(base, [opaque])).toEqual(['d dir', 'f "f"'])
    expect(await shown([file('f')], [dir('new'), whiteout('new/.wh..wh..opq')])).toEqual([
      'f "f"',
      'new dir',
    ])
    expect(await shown(base, [dir('d'), dir('d/sub'), whiteout('d/sub/.wh..wh..opq')])).toEqual([
      'd dir',
      'd/a "d/a"',
      'd/b "d/b"',
      'd/sub dir',
      'f "f"',
    ])
  })

  test('A5 opaque on the root hides everything below', async () => {
    expect(await shown(base, [whiteout('.wh..wh..opq'), dir('d'), file('d/n')])).toEqual([
      'd dir',
      'd/n "d/n"',
    ])
  })

  test('A6 a directory deleted and made again shows only what is new', async () => {
    const expected = ['d dir', 'd/n "d/n"', 'f "f"']
    expect(await shown(base, [whiteout('.wh.d'), dir('d'), file('d/n')])).toEqual(expected)
    expect(await shown(base, [dir('d'), file('d/n'), whiteout('.wh.d')])).toEqual(expected)
    expect(await shown(base, [whiteout('.wh.d'), file('d/n')])).toEqual(expected)
  })

  test('A7 a whiteout below a whiteout is no error', async () => {
    expect(await shown(base, [whiteout('.wh.d'), whiteout('d/.wh.a')])).toEqual(['f "f"'])
    expect(await shown(base, [whiteout('d/.wh.a'), whiteout('.wh.d')])).toEqual(['f "f"'])
  })

  test('A8 a whiteout of nothing leaves no ghost', async () => {
    const all = await shown(base)
    expect(await shown(base, [whiteout('zz/.wh.nope'), whiteout('.wh.nope')])).toEqual(all)
    expect(await shown(base, [dir('zz'), whiteout('zz/.wh.nope')])).toEqual([...all, 'zz dir'])
    expect(await shown([whiteout('.wh.nope'), dir('e'), whiteout('e/.wh.nope')])).toEqual(['e dir'])
    expect(await shown(base, [dir('d'), whiteout('d/.wh..wh..opq'), whiteout('d/.wh.a')])).toEqual([
      'd dir',
      'f "f"',
    ])
    expect(await shown([file('f')], [whiteout('f/.wh.x')])).toEqual(['f "f"'])
  })

  test('A9 an entry replaces what is of another type, and merges directories', async () => {
    const lower = [dir('d'), file('d/a'), file('f'), symlink('l', 'd')]
    const layer = [file('d', 'file'), dir('f'), symlink('f/x', 'y'), dir('l'), file('l/n')]
    const expected = ['d "file"', 'f dir', 'f/x -> y', 'l dir', 'l/n "l/n"']
    expect(await shown(lower, layer)).toEqual(expected)
    expect(await shown([...lower, ...layer])).toEqual(expected)
    expect(await shown(lower, [dir('d', { mode: 0o700 })])).toContain('d/a "d/a"')
  })

  test('A10 a file gives way to the directory that an entry needs', async () => {
    expect(await shown([file('f'), file('f/y')])).toEqual(['f dir', 'f/y "f/y"'])
    expect(await shown([file('f')], [file('f/y')])).toEqual(['f dir', 'f/y "f/y"'])
  })

  test('A12 writes through a link of a lower layer, as flat extraction does', async () => {
    const lower = [dir('d'), symlink('dl', 'd')]
    expect(await shown(lower, [file('dl/new')])).toEqual(['d dir', 'd/new "dl/new"', 'dl -> d'])
    expect(await shown([...lower, file('dl/new')])).toEqual(['d dir', 'd/new "dl/new"', 'dl -> d'])
  })

  test('A14 links to files of lower layers, to later files, to links', async () => {
    expect(await shown(base, [hardlink('h', 'd/a')])).toContain('h "d/a"')
    expect(await shown([hardlink('h', 'f'), file('f')])).toEqual(['f "f"', 'h "f"'])
    expect(await shown([symlink('s', 'nowhere'), hardlink('h', 's')])).toEqual([
      'h -> nowhere',
      's -> nowhere',
    ])
    expect(await shown([file('f'), hardlink('h', '/f'), hardlink('i', '../../f')])).toEqual([
      'f "f"',
      'h "f"',
      'i "f"',
    ])
  })

  test('A14 a link before a new file is to the old one, where there was one', async () => {
    expect(await shown([file('f', 'old')], [hardlink('h', 'f'), file('f', 'new')])).toEqual([
      'f "new"',
      'h "old"',
    ])
  })

  test('A14 refuses a link to nothing, to a directory, and to what was whited out', async () => {
    await expect(shown([hardlink('h', 'none')])).rejects.toThrow(
      'Cannot apply layer entry "/h": it links to "/none", where there is no file',
    )
    await expect(shown(base, [hardlink('h', 'none')])).rejects.toMatchObject({ code: 'invalid' })
    await expect(shown([dir('d'), hardlink('h', 'd')])).rejects.toThrow('where there is no file')
    await expect(shown(base, [whiteout('.wh.f'), hardlink('h', 'f')])).rejects.toMatchObject({
      code: 'invalid',
    })
  })
})
