/** Mounts out of another filesystem state: a stage or an image beside the one that runs. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { RootMount } from '../../src/layerfs/mount.ts'
import type { SandboxMount } from '../../src/layerfs/sandbox/spec.ts'
import { type Box, makeBox, missing, run } from './box.ts'

function from(root: RootMount, source: string, changes: object = {}): SandboxMount {
  return { kind: 'layers', root, source, target: '/m', readOnly: true, ...changes }
}

/** Two layers: `f` and `d/both` are in each, `d/low` below only. */
function makeLayers({ directory }: Box) {
  const layers = ['top', 'low'].map(name => join(directory, name))
  for (const [index, layer] of layers.entries()) {
    mkdirSync(join(layer, 'd'), { recursive: true })
    const name = index === 0 ? 'top' : 'low'
    writeFileSync(join(layer, 'f'), `${name} f`)
    writeFileSync(join(layer, 'd/both'), `${name} both`)
    writeFileSync(join(layer, 'd', name), name)
  }
  const [top = '', low = ''] = layers
  symlinkSync('/d', join(top, 'inside'))
  symlinkSync('../../../../../../etc', join(top, 'outside'))
  return { top, low, both: { kind: 'overlay', lower: layers } as const }
}

describe.skipIf(missing !== undefined)('a mount of layers', () => {
  test('shows a directory of the stacked layers', async () => {
    using box = makeBox()
    const { both } = makeLayers(box)
    const { stdout } = await run(box, 'ls /m; cat /m/both', { mounts: [from(both, '/d')] })
    expect(stdout).toBe('both\nlow\ntop\ntop both')
  })

  test('shows a single file, and one directory that is no overlay', async () => {
    using box = makeBox()
    const { both, low } = makeLayers(box)
    const mounts = [
      from(both, 'f', { target: '/file' }),
      from({ kind: 'directory', path: low, readOnly: true }, '/', { target: '/low' }),
      from({ kind: 'overlay', lower: [low] }, 'd/low', { target: '/alone' }),
    ]
    const { stdout } = await run(box, 'cat /file /low/f /alone', { mounts })
    expect(stdout).toBe('top flow flow')
  })

  test('cannot be written to, unless it has an upper directory, which takes the writes', async () => {
    using box = makeBox()
    const { both, top } = makeLayers(box)
    const upper = join(box.directory, 'discarded')
    const work = join(box.directory, 'discarded-work')
    for (const path of [upper, work]) mkdirSync(path)
    const { stdout } = await run(
      box,
      'echo x > /m/new || echo refused; echo changed > /w/both; cat /w/both',
      {
        mounts: [
          from(both, '/d'),
          from({ ...both, upper, work }, '/d', { target: '/w', readOnly: false }),
        ],
      },
    )
    expect(stdout).toBe('refused\nchanged\n')
    expect(readFileSync(join(top, 'd/both'), 'utf8')).toBe('top both')
    expect(readFileSync(join(upper, 'd/both'), 'utf8')).toBe('changed\n')
  })

  test('resolves its source inside those layers, never outside', async () => {
    using box = makeBox()
    const { both } = makeLayers(box)
    const { stdout } = await run(box, 'ls /m', { mounts: [from(both, 'inside')] })
    expect(stdout).toContain('both')
    for (const source of ['outside', '/outside/passwd', '../../../etc', 'none']) {
      await expect(run(box, 'true', { mounts: [from(both, source)] })).rejects.toThrow(
        'Cannot open the source of a mount',
      )
    }
  })
})
