/**
 * Whatever the order: who pulls, builds or runs never misses what it found or made, what is named is
 * whole, and what nobody needs goes.
 *
 * The parts are the real ones on a real directory. Each actor has leases of its own, as a process
 * has, and waits for its turn before and after it takes one, and wherever the collector lists,
 * reads or removes.
 */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { openLeases } from '../../../src/layerfs/content/leases.ts'
import { openImageStore } from '../../../src/layerfs/image/image-store.ts'
import { pruneStore } from '../../../src/layerfs/image/prune.ts'
import { readImage } from '../../../src/layerfs/runtime/local-image.ts'
import { openContainers } from '../../../src/layerfs/snapshot/containers.ts'
import { openSnapshotter } from '../../../src/layerfs/snapshot/overlay.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { chainIds } from '../../../src/oci/digest.ts'
import { parsePlatform } from '../../../src/oci/platform.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { describeWith } from '../../support/requires.ts'
import { explore, type Scenario, type Turn } from '../../support/turns.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { commitLayer, layerNamed } from '../snapshot/snapshotter.contract.ts'
import { makeImage, type SampleImage, tarOf } from './sample-image.ts'

/** The long lane has more. */
const schedules = Number(process.env['COLLECT_SCHEDULES'] ?? 60)

const platform = parsePlatform('linux/amd64')
const [old, fresh] = ['old', 'fresh'].map(parseReference) as [never, never]
const tars = [tarOf({ base: 'x' }), tarOf({ top: 'y' })]
const base = layerNamed('base')
const top = layerNamed('top', base.name)

describeWith(['root'], 'pruneStore beside others', () => {
  let template: string
  let image: SampleImage
  let place: string
  let round = 0

  beforeAll(async () => {
    template = freshDirectory()
    place = freshDirectory()
    await using store = await openStore(template)
    image = await makeImage(store.content, tars)
    await store.images.set({ reference: old, target: image.target })
    // Nothing refers to them, as after a build whose steps were forgotten.
    await commitLayer(store.snapshots, 'base')
  })
  afterAll(removeDirectories)

  async function make(): Promise<Scenario> {
    const root = join(place, `${round++}`)
    cpSync(template, root, { recursive: true })
    const whole = await openStore(root)
    const gate = { isClosed: false }
    return {
      actors: {
        puller: turn => pull(actorStore(whole, turn, gate)),
        builder: turn => buildOn(actorStore(whole, turn, gate)),
        runner: turn => run(actorStore(whole, turn, gate)),
        collector: async turn => {
          await turn()
          await whole.images.remove(old)
          await pruneStore(collectorStore(whole, turn, gate), async () => [])
        },
      },
      check: async () => {
        await expectWhole(whole)
        await whole.images.remove(fresh)
        await whole.containers.remove(await builtOn(whole))
        whole.letGo()
        await pruneStore(whole, async () => [])
        for await (const blob of whole.unheld.list()) expect(blob).toBeUndefined()
        for await (const info of whole.snapshots.list()) expect(info).toBeUndefined()
        await whole[Symbol.asyncDispose]()
        rmSync(root, { recursive: true })
      },
    }
  }

  /** The same image, by another name: most of it may be here. */
  async function pull({ content, images, letGo }: ActorStore): Promise<void> {
    await using source = await openStore(template)
    const { manifest } = await readImage(source.unheld, image.target, platform)
    const { config, layers } = manifest.value
    for (const blob of [...layers, config, image.target]) {
      await using download = await content.download(blob)
      if (download === undefined) continue
      await download.write(await source.unheld.read(blob.digest))
      await download.commit()
    }
    await images.set({ reference: fresh, target: image.target })
    letGo()
  }

  /** A container on a new layer on one that is there, or is made again. */
  async function buildOn({ snapshots, letGo, containers }: ActorStore): Promise<void> {
    if ((await snapshots.find(base.name)) === undefined) await commitLayer(snapshots, 'base')
    await commitLayer(snapshots, 'top', base.name)
    const held = await containers.create(top.name, {})
    held[Symbol.dispose]()
    letGo()
  }

  async function run({ content, images, letGo }: ActorStore): Promise<void> {
    const record = await images.get(old)
    if (record !== undefined) {
      const { manifest } = await readImage(content, record.target, platform)
      for (const { digest } of manifest.value.layers) {
        expect(await content.find(digest)).toBeDefined()
        expect((await content.read(digest)).length).toBeGreaterThan(0)
      }
    }
    letGo()
  }

  async function expectWhole(store: Store): Promise<void> {
    const record = await store.images.get(fresh)
    expect(record?.target).toEqual(image.target)
    const { manifest } = await readImage(store.unheld, image.target, platform)
    for (const { digest } of manifest.value.layers) {
      expect(await store.unheld.find(digest)).toBeDefined()
    }
    expect(await store.snapshots.layers(top.name)).toHaveLength(2)
    store.letGo()
  }

  async function builtOn(store: Store): Promise<string> {
    const [container] = await store.containers.list()
    return container?.id ?? ''
  }

  it(
    `of ${schedules} orders none goes wrong`,
    async () => {
      expect(chainIds([base.diffId, top.diffId]).at(-1)).toBe(top.name)
      const count = await explore(make, { preemptions: 3, schedules })
      expect(count).toBe(schedules)
    },
    30_000 + schedules * 500,
  )
})

interface Gate {
  isClosed: boolean
}

type ActorStore = ReturnType<typeof actorStore>

/** A turn before a line is written, which waits while the collector is alone, and one after. */
function actorStore(store: Store, turn: Turn, gate: Gate) {
  const leases = openLeases(store.root)
  const hold: typeof leases.hold = async thing => {
    await turn(() => !gate.isClosed)
    const isHeld = await leases.hold(thing)
    await turn()
    return isHeld
  }
  const images = openImageStore(join(store.root, 'images'), hold)
  const snapshots = openSnapshotter(store.root, { hold })
  return {
    containers: openContainers({ root: store.root, snapshots, trash: store.trash }),
    letGo: leases.letGo,
    content: openContentStore(store.root, hold),
    snapshots,
    images: {
      ...images,
      set: async (record: Parameters<typeof images.set>[0]) => {
        await turn()
        await images.set(record)
        await turn()
      },
    },
  }
}

function collectorStore(store: Store, turn: Turn, gate: Gate): Store {
  const inTurn =
    <Args extends unknown[], T>(operation: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      await turn()
      return await operation(...args)
    }
  const trash = { ...store.trash, discard: inTurn(store.trash.discard) }
  const { unheld } = store
  return {
    ...store,
    trash,
    images: { ...store.images, list: inTurn(store.images.list) },
    snapshots: openSnapshotter(store.root, { trash }),
    unheld: {
      ...store.unheld,
      find: digest => unheld.find(digest),
      read: inTurn((digest, maxSize) => unheld.read(digest, maxSize)),
      list: () => unheld.list(),
      pathOf: digest => unheld.pathOf(digest),
    },
    collect: async remove => {
      await turn(() => !gate.isClosed)
      gate.isClosed = true
      try {
        return await store.collect(async held => {
          await turn()
          return await remove(held)
        })
      } finally {
        gate.isClosed = false
      }
    },
  }
}
