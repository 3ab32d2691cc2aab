/** A COPY that ends a build, whose layer is made without its files (layerfs/snapshot/packed-layer.ts). */
import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStore } from '../../../src/layerfs/store.ts'
import { chainIds } from '../../../src/oci/digest.ts'
import { type BuildOptions, type Built, openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['root', 'build', 'busybox'], 'a COPY that ends a build', () => {
  let shop: Workshop
  beforeAll(async () => {
    shop = await openWorkshop()
    shop.write({
      'tree/one': '1',
      'tree/sub/two': '22',
      'tree/a.log': 'l',
      'tree/b.log': 'm',
      f: 'f',
    })
  })
  afterAll(() => shop[Symbol.asyncDispose]())

  async function isPacked({ result }: Built): Promise<boolean> {
    const chain = chainIds(result.layers).at(-1)
    return chain !== undefined && (await shop.store.snapshots.packedTar(chain)) !== undefined
  }

  test.each([
    ['to the root of nothing', 'FROM scratch\nCOPY tree /', '/sub/two'],
    ['to a directory that is empty', 'FROM busybox\nWORKDIR /app\nCOPY tree .', '/app/sub/two'],
    ['to a new directory', 'FROM busybox\nCOPY tree /usr/new/app', '/usr/new/app/sub/two'],
    ['of a whole context, with ADD', 'FROM busybox\nADD . /all/', '/all/tree/sub/two'],
  ])('is packed: %s', async (_, dockerfile, path) => {
    using built = await shop.build(dockerfile)
    expect(await isPacked(built)).toBe(true)
    expect(built.read(path)).toBe('22')
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    expect(again.result.layers).toEqual(built.result.layers)
  })

  test.each<readonly [string, string, BuildOptions]>([
    ['of a file', 'FROM scratch\nCOPY f /only/', {}],
    ['of several', 'FROM scratch\nCOPY tree f /several/', {}],
    ['to where something is', 'FROM busybox\nCOPY tree /bin', {}],
    ['with --chown', 'FROM scratch\nCOPY --chown=5:6 tree /owned', {}],
    ['with --chmod', 'FROM scratch\nCOPY --chmod=700 tree /closed', {}],
    ['that a RUN follows', 'FROM busybox\nCOPY tree /run\nRUN cat /run/one', {}],
    ['that an output takes apart', 'FROM scratch\nCOPY tree /apart', { needsFiles: true }],
  ])('is copied: %s', async (_, dockerfile, options) => {
    using built = await shop.build(dockerfile, options)
    for (const chain of chainIds(built.result.layers)) {
      expect(await shop.store.snapshots.packedTar(chain)).toBeUndefined()
    }
  })

  test('is copied for another stage that reads it', async () => {
    const stage = 'FROM scratch AS a\nCOPY tree /read'
    using read = await shop.build(`${stage}\nFROM scratch\nCOPY --from=a /read/sub /`)
    expect(read.read('/two')).toBe('22')
    using alone = await shop.build(stage, { target: 'a' })
    expect(alone.worked).toEqual([])
    expect(await isPacked(alone)).toBe(false)
  })

  test('has the digest of its copy, without what .dockerignore names', async () => {
    await using store = await openStore(join(shop.directory, 'other'))
    const dockerfile = 'FROM scratch\nCOPY . /'
    const ignore = 'tree/*\n!tree/b.log\n!tree/sub\nf'
    using packed = await shop.build(dockerfile, { ignore })
    using copied = await shop.build(dockerfile, { ignore, store, needsFiles: true })
    expect(packed.result.layers).toEqual(copied.result.layers)
    expect(await isPacked(packed)).toBe(true)
    expect(packed.root.exists('/tree/a.log')).toBe(false)
    expect([packed.read('/tree/b.log'), packed.read('/tree/sub/two')]).toEqual(['m', '22'])
  })

  test('is what a later build goes on from', async () => {
    const first = 'FROM busybox\nCOPY tree /on'
    using packed = await shop.build(first)
    expect(await isPacked(packed)).toBe(true)
    using built = await shop.build(`${first}\nRUN cat /on/sub/two > /seen`)
    expect(built.cached).toHaveLength(1)
    expect(built.read('/seen')).toBe('22')
  })

  test('K01 run again over younger files gives what it gave', async () => {
    const dockerfile = 'FROM busybox\nCOPY tree /again'
    using first = await shop.build(dockerfile)
    utimesSync(join(shop.directory, 'context/tree/one'), 5, 5)
    using again = await shop.build(dockerfile, { rerun: [':2'] })
    expect(again.worked).toHaveLength(1)
    expect(again.result.layers).toEqual(first.result.layers)
    using other = await shop.build(dockerfile, { rerun: 'all' })
    expect(other.result.layers).not.toEqual(first.result.layers)
  })
})
