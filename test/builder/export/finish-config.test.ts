import { describe, expect, it } from 'vitest'
import { finishConfig } from '../../../src/builder/export/finish-config.ts'
import { type DiffId, digestOf } from '../../../src/oci/digest.ts'
import type { ImageConfig } from '../../../src/oci/image-config.ts'

const layer = (name: string) => digestOf(name) as string as DiffId

const base: ImageConfig = {
  architecture: 'amd64',
  os: 'linux',
  created: '2020-01-01T00:00:00Z',
  config: {},
  rootfs: { type: 'layers', diff_ids: [layer('base')] },
  history: [{ created: '2020-01-01T00:00:00Z', created_by: 'base' }],
}

describe('finishConfig()', () => {
  it('O02 gives each entry the time of its layer, and an entry without layer that before it', () => {
    const image = {
      ...base,
      history: [
        ...base.history,
        { created_by: 'ENV a=b', empty_layer: true },
        { created_by: 'RUN x' },
        { created_by: 'CMD y', empty_layer: true },
      ],
    }
    const run = { layers: [layer('base'), layer('x')], created: '2026-01-01T00:00:00Z' }
    const config = finishConfig({
      image,
      steps: [undefined, run, undefined],
      layers: run.layers,
    })
    expect(config.history).toEqual([
      { created: '2020-01-01T00:00:00Z', created_by: 'base' },
      { created: '2020-01-01T00:00:00Z', created_by: 'ENV a=b', empty_layer: true },
      { created: '2026-01-01T00:00:00Z', created_by: 'RUN x' },
      { created: '2026-01-01T00:00:00Z', created_by: 'CMD y', empty_layer: true },
    ])
    expect(config.created).toBe('2026-01-01T00:00:00Z')
    expect(config.rootfs.diff_ids).toEqual(run.layers)
  })

  it('O01 keeps as many layers as history entries that are not empty', () => {
    const image = { ...base, history: [...base.history, { created_by: 'RUN x' }] }
    const run = { layers: [layer('base'), layer('x')], created: '2026-01-01T00:00:00Z' }
    const config = finishConfig({ image, steps: [run], layers: run.layers })
    const entries = config.history.filter(entry => entry.empty_layer !== true)
    expect(entries).toHaveLength(config.rootfs.diff_ids.length)
  })

  it('O04 gives layers of the base that its history does not tell of an entry each', () => {
    const [bottom, middle, top] = [layer('base'), layer('middle'), layer('top')]
    const image = {
      ...base,
      rootfs: { type: 'layers', diff_ids: [bottom, middle] },
      history: [...base.history, { created_by: 'RUN x' }],
    } as const
    const run = { layers: [bottom, middle, top], created: '2026-01-01T00:00:00Z' }
    const config = finishConfig({ image, steps: [run], layers: run.layers })
    expect(config.history).toEqual([
      { created: '2020-01-01T00:00:00Z', created_by: 'base' },
      { created: '2020-01-01T00:00:00Z', comment: 'buildkit.exporter.image.v0' },
      { created: '2026-01-01T00:00:00Z', created_by: 'RUN x' },
    ])
  })

  it('keeps the history of a base that no step follows', () => {
    const config = finishConfig({ image: base, steps: [], layers: base.rootfs.diff_ids })
    expect(config.history).toEqual(base.history)
    expect(config.created).toBe(base.created)
  })

  it('O11 gives an image without base and layers a time that no build changes', () => {
    const { created: _, ...rest } = base
    const image = { ...rest, history: [{ created_by: 'LABEL a=b', empty_layer: true }] }
    const config = finishConfig({ image, steps: [undefined], layers: [] })
    expect(config.created).toBe('1970-01-01T00:00:00Z')
  })

  it('O05 writes no time later than SOURCE_DATE_EPOCH, and leaves the history of the base', () => {
    const image = { ...base, history: [...base.history, { created_by: 'RUN x' }] }
    const run = { layers: [layer('base'), layer('x')], created: '2026-01-01T00:00:00Z' }
    const latest = new Date('2010-01-01T00:00:00Z')
    const config = finishConfig({ image, steps: [run], layers: run.layers, latest })
    expect(config.history[0]?.created).toBe('2020-01-01T00:00:00Z')
    expect(config.history[1]?.created).toBe('2010-01-01T00:00:00.000Z')
    expect(config.created).toBe('2010-01-01T00:00:00.000Z')
  })
})
