/**
 * What holds for any stack of layers: laid over each other by the kernel they show what extracting
 * them in order into one tree shows; and applying a diff gives what was diffed.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { diffLayer } from '../../../src/layerfs/layer/diff.ts'
import { Extraction } from '../../../src/layerfs/layer/extraction.ts'
import { openAs } from '../../../src/layerfs/layer/file-type.ts'
import { FlatFormat, RememberedPaths } from '../../../src/layerfs/layer/flat-format.ts'
import { assertNoDeadLinks } from '../../../src/layerfs/layer/link-entry.ts'
import { overlayFormat } from '../../../src/layerfs/layer/overlay-format.ts'
import { setOverlayUse } from '../../../src/layerfs/layer/overlay-use.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import { defaultBudgets } from '../../../src/layerfs/tar/entry.ts'
import { TarReader } from '../../../src/layerfs/tar/reader.ts'
import { type Bench, type EntryDraft, fully, layerBench, listTree, tarOf } from './layer-support.ts'

const name = fc.constantFrom('a', 'b', 'c')
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(names => names.join('/'))
const mode = fc.constantFrom(0o600, 0o755, 0o4711)
const uid = fc.constantFrom(0, 7)
const xattrs = fc.constantFrom<Record<string, string>>({}, { 'user.x': '1' })

const entry: fc.Arbitrary<EntryDraft> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ path, content: fc.constantFrom('', 'x', 'yy'), mode, uid, xattrs }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ path, type: fc.constant('directory' as const), mode, uid, xattrs }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      path,
      type: fc.constant('symlink' as const),
      link: fc.oneof(
        path,
        path.map(p => `/${p}`),
        path.map(p => `../${p}`),
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ path, type: fc.constant('hardlink' as const), link: path, mode }),
  },
  { weight: 1, arbitrary: fc.record({ path, type: fc.constant('fifo' as const), mode }) },
)

const marker: fc.Arbitrary<EntryDraft> = fc
  .tuple(path, fc.constantFrom('.wh.', '.wh..wh..opq'))
  .map(([hidden, prefix]) => ({
    path:
      prefix === '.wh.' ? hidden.replace(/[^/]*$/, last => `.wh.${last}`) : `${hidden}/${prefix}`,
    content: '',
  }))

const layer = fc
  .tuple(fc.array(marker, { maxLength: 3 }), fc.array(entry, { maxLength: 8 }))
  // Whiteouts first, as the specification asks of who makes layers.
  .map(([markers, entries]) => [...markers, ...entries])

const stack = fc.array(layer, { minLength: 1, maxLength: 4 })

/** `undefined` when a layer is refused. */
async function overlaid(
  bench: Bench,
  layers: readonly EntryDraft[][],
): Promise<string[] | undefined> {
  try {
    for (const each of layers) await bench.apply(each)
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid' })
    return undefined
  }
  using view = bench.view()
  return listTree(view, fully).map(withoutNoise)
}

/** Each layer extracted over the last, in one directory. */
function flat(bench: Bench, layers: readonly EntryDraft[][]): string[] | undefined {
  const target = join(bench.dir, 'flat')
  mkdirSync(target)
  const rootFd = openSync(target, openAs.directory)
  try {
    for (const each of layers) extractFlat(rootFd, each)
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid' })
    return undefined
  } finally {
    closeSync(rootFd)
  }
  using root = openRoot({ kind: 'directory', path: target, readOnly: true })
  return listTree(root, fully).map(withoutNoise)
}

function extractFlat(rootFd: number, layerEntries: readonly EntryDraft[]): void {
  const own = new RememberedPaths()
  const format = new FlatFormat({ rootFd, kind: 'plain', overlay: overlayFormat(), own })
  using extraction = new Extraction({ rootFd, format, budgets: defaultBudgets })
  const reader = new TarReader(extraction)
  reader.push(tarOf(layerEntries))
  reader.end()
  assertNoDeadLinks(extraction.finish())
}

/** Link counts differ by layers, and implied directories of flat extraction take no time from below. */
function withoutNoise(line: string): string {
  return line.replace(/ -?\d+\.\d+ /, ' ').replace(/links=\d+/, '')
}

/** The same hundred stacks in every run; with TSBUILD_TEST_ALL, thousands of new ones. */
const runs =
  process.env['TSBUILD_TEST_ALL'] === undefined
    ? { numRuns: 100, seed: 20_261_120 }
    : { numRuns: 3000 }
const patience = runs.numRuns * 2000

test(
  'layers laid over each other show what flat extraction shows (A3–A14)',
  async () => {
    await fc.assert(
      fc.asyncProperty(stack, async layers => {
        using bench = layerBench()
        const expected = flat(bench, layers)
        expect(await overlaid(bench, layers)).toEqual(expected)
      }),
      runs,
    )
  },
  patience,
)

test(
  'layers copied over each other show what flat extraction shows',
  async () => {
    setOverlayUse('copy')
    try {
      await fc.assert(
        fc.asyncProperty(stack, async layers => {
          using bench = layerBench()
          const expected = flat(bench, layers)
          expect(await overlaid(bench, layers)).toEqual(expected)
        }),
        { ...runs, numRuns: runs.numRuns / 2 },
      )
    } finally {
      setOverlayUse('overlay')
    }
  },
  patience,
)

test(
  'applying a diff gives the tree that was diffed, and diffing that the same bytes',
  async () => {
    await fc.assert(
      fc.asyncProperty(stack, async layers => {
        using bench = layerBench()
        const expected = await overlaid(bench, layers)
        fc.pre(expected !== undefined)
        const [upper = '', ...lower] = bench.layers
        const tar = Buffer.concat([...diffLayer({ upper, lower })])
        bench.layers.shift()
        await bench.apply(tar)
        using view = bench.view()
        expect(listTree(view, fully).map(withoutNoise)).toEqual(expected)
        const again = [...diffLayer({ upper: bench.layers[0] ?? '', lower })]
        expect(Buffer.concat(again).equals(tar)).toBe(true)
      }),
      runs,
    )
  },
  patience,
)

test('A12 what a layer wrote through a link of a lower layer stays when it then replaces the link', async () => {
  using bench = layerBench()
  const layers = [
    [{ path: 'c/a' }, { path: 'a', type: 'symlink', link: '/c' }],
    [
      { path: 'a/a', type: 'directory' },
      { path: 'a', type: 'fifo' },
    ],
  ] satisfies EntryDraft[][]
  const expected = flat(bench, layers)
  expect(await overlaid(bench, layers)).toEqual(expected)
})

test('A12 a link to a directory that the same layer removes leads nowhere', async () => {
  using bench = layerBench()
  const layers = [
    [{ path: 'a/a' }],
    [
      { path: 'a/.wh.a' },
      { path: '.wh.a' },
      { path: 'b', type: 'symlink', link: '/a' },
      { path: 'b/a' },
    ],
  ] satisfies EntryDraft[][]
  const expected = flat(bench, layers)
  expect(await overlaid(bench, layers)).toEqual(expected)
})

test('A12 what went through a link of a lower layer stays there when a directory then replaces the link', async () => {
  using bench = layerBench()
  const layers = [
    [
      { path: 'a', type: 'directory' },
      { path: 'c', type: 'symlink', link: 'a' },
    ],
    [{ path: 'c/a' }, { path: 'c', type: 'directory' }],
  ] satisfies EntryDraft[][]
  const expected = flat(bench, layers)
  expect(await overlaid(bench, layers)).toEqual(expected)
})

test('A12 a whiteout through a link of a lower layer hides there what the layer then replaces the way to', async () => {
  using bench = layerBench()
  const layers = [
    [{ path: 'a/a', type: 'symlink', link: '/b' }, { path: 'b/c' }],
    [{ path: 'a/a/.wh.c' }, { path: 'a' }],
  ] satisfies EntryDraft[][]
  const expected = flat(bench, layers)
  expect(await overlaid(bench, layers)).toEqual(expected)
})

test('A5 a directory that is removed and marked as opaque is gone, whichever comes first', async () => {
  const markers = [{ path: 'a/c/a/.wh..wh..opq' }, { path: 'a/c/.wh.a' }]
  for (const upper of [markers, markers.toReversed()]) {
    using bench = layerBench()
    const layers = [[{ path: 'a/c/a', type: 'directory' as const }], upper]
    const expected = flat(bench, layers)
    expect(await overlaid(bench, layers)).toEqual(expected)
  }
})
