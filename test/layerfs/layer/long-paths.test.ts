import { describe, expect, test } from 'vitest'
import { dir, file, hardlink, layerBench, whiteout } from './layer-support.ts'

/** Of `levels` directories, none of which has an entry of its own. */
const deep = (levels: number, name: string) => `${`${name}/`.repeat(levels)}f`

describe('applyLayer() bounds the paths that it remembers', () => {
  test.each([
    ['directories that one entry implies', [file(deep(300, 'a'.repeat(250)))]],
    ['directories', Array.from({ length: 300 }, (_, i) => dir(`${'a'.repeat(200)}/${i}`))],
    ['whiteouts', Array.from({ length: 300 }, (_, i) => whiteout(`${'a'.repeat(200)}/.wh.${i}`))],
    ['links to nothing', Array.from({ length: 300 }, (_, i) => hardlink(`${i}`, 'a'.repeat(200)))],
  ])('%s', async (_title, drafts) => {
    using bench = layerBench()
    await expect(bench.apply(drafts, { budgets: { names: 50_000 } })).rejects.toMatchObject({
      code: 'too-large',
      message: expect.stringContaining('50000 bytes'),
    })
  })

  test('A32 and takes a path that is longer than the kernel takes at once', async () => {
    using bench = layerBench()
    const path = deep(100, 'a'.repeat(250))
    await bench.apply([file(path, 'content')], { budgets: { names: 2_000_000 } })
    using view = bench.view()
    expect(view.readFile(path, 100).toString()).toBe('content')
  })

  test('a layer of some kilobytes takes no gigabytes, nor minutes', async () => {
    using bench = layerBench()
    const drafts = ['b', 'c', 'd', 'e'].map(name => file(deep(4000, name.repeat(250))))
    await expect(bench.apply(drafts)).rejects.toMatchObject({ code: 'too-large' })
    expect(process.memoryUsage().rss).toBeLessThan(1.2 * 2 ** 30)
  })
})
