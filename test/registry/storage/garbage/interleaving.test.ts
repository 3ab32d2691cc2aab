/**
 * No acknowledged manifest ever misses a blob (registry 4.6 #6, #7, #15): all orders of what pushers,
 * a deleter and the collector do to the store, up to a number of preemptions, with a crash anywhere.
 *
 * The collector has no time of grace here, and the registry refuses what is missing: so nothing that
 * is proved depends on a clock.
 */
import { describe, expect, it } from 'vitest'
import type { Digest } from '../../../../src/oci/digest.ts'
import { mediaTypes } from '../../../../src/oci/media-type.ts'
import { parseRepositoryName, parseTag } from '../../../../src/oci/reference.ts'
import { findBlob, holdBlob, linkBlob } from '../../../../src/registry/storage/blobs.ts'
import { createConfirmed } from '../../../../src/registry/storage/confirmed.ts'
import { collectGarbage } from '../../../../src/registry/storage/garbage/collect-garbage.ts'
import { collectRepository } from '../../../../src/registry/storage/garbage/collect-repository.ts'
import { KeyedMutex } from '../../../../src/registry/storage/keyed-mutex.ts'
import { leaderKey } from '../../../../src/registry/storage/keys.ts'
import { deleteManifest, pushManifest } from '../../../../src/registry/storage/manifests.ts'
import type { ObjectStore } from '../../../../src/registry/storage/object-store.ts'
import {
  createRegistryStorage,
  type RegistryStorage,
} from '../../../../src/registry/storage/registry-storage.ts'
import {
  MissingReferencesError,
  ResourceError,
} from '../../../../src/registry/storage/resource-error.ts'
import { uploadWhole } from '../../../../src/registry/storage/uploads.ts'
import { type Content, content } from '../../server/contents.ts'
import { type Acknowledged, expectNoGarbage, expectWhole } from './expect-whole.ts'
import {
  type Actor,
  type Bounds,
  explore,
  FingerprintedStore,
  type Scenario,
} from './interleave.ts'

const source = parseRepositoryName('src')
const repository = parseRepositoryName('a')
const layer = content('layer')

/** An image of one layer, so that schedules stay short. */
function image(name: string): Content {
  const { mediaType, digest, bytes } = layer
  const layers = [{ mediaType, digest, size: bytes.length }]
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    layers,
    annotations: { name },
  }
  return content(JSON.stringify(document), mediaTypes.manifest)
}

const old = image('old')

interface World {
  readonly acknowledged: Acknowledged[]
  deleting: Digest | undefined
  storageOf(objects: ObjectStore, name: string): RegistryStorage
}

/** Made once: it is slow, and what it knows of uploads that continue is of no matter here. */
const template = createRegistryStorage(new FingerprintedStore(), {
  missingReferences: 'refuse',
  now: () => new Date('2026-01-01T00:00:00Z'),
})

function newWorld(): World {
  return {
    acknowledged: [],
    deleting: undefined,
    storageOf: (objects, name) => {
      let ids = 0
      return {
        ...template,
        objects,
        pushes: new KeyedMutex(),
        confirmed: createConfirmed(100),
        newId: () => `${name}-${ids++}`,
      }
    },
  }
}

async function* bytesOf({ bytes }: Content) {
  yield bytes
}

const upload = (storage: RegistryStorage, blob: Content, to = repository) =>
  uploadWhole(storage, to, { digest: blob.digest, bytes: bytesOf(blob) })

/** As clients do: what is missing is uploaded, and the manifest tried again. */
async function push(
  storage: RegistryStorage,
  world: World,
  { manifest, tag }: { readonly manifest: Content; readonly tag?: string },
): Promise<void> {
  for (let attempt = 0; attempt < 4; attempt++) {
    try {
      await pushManifest(storage, repository, {
        bytes: manifest.bytes,
        contentType: manifest.mediaType,
        digest: manifest.digest,
        tags: tag === undefined ? [] : [parseTag(tag)],
      })
      // Of what is being deleted at the same time, both ends are right.
      if (world.deleting !== manifest.digest) {
        world.acknowledged.push({ repository, manifest, tag, blobs: [layer.digest] })
      }
      return
    } catch (error) {
      if (!(error instanceof MissingReferencesError)) throw error
      await upload(storage, layer)
    }
  }
}

const actors = {
  /** Asks for the layer, and uploads it only when it is not there. */
  reuser: (world: World): Actor => ({
    name: 'reuser',
    run: async objects => {
      const storage = world.storageOf(objects, 'reuser')
      const found = await holdBlob(storage, repository, { digest: layer.digest })
      if (found === undefined) await upload(storage, layer)
      await push(storage, world, { manifest: image('reused'), tag: 'x' })
    },
  }),
  tagger: (world: World): Actor => ({
    name: 'tagger',
    run: objects =>
      push(world.storageOf(objects, 'tagger'), world, { manifest: image('tagged'), tag: 'x' }),
  }),
  /** The part of a run that judges the repository: few enough steps to try every order. */
  judge: (world: World, name: string): Actor => ({
    name,
    run: async objects => {
      const storage = world.storageOf(objects, name)
      const options = { graceMs: 0, uploadExpiryMs: 1e9, startedAt: storage.now().getTime() }
      await collectRepository({ storage, ...options }, repository)
    },
  }),
  /** Mounts the layer from another repository, or uploads it. */
  mounter: (world: World): Actor => ({
    name: 'mounter',
    run: async objects => {
      const storage = world.storageOf(objects, 'mounter')
      const blob = await findBlob(storage, source, layer.digest)
      if (blob === undefined || !(await linkBlob(storage, repository, blob))) {
        await upload(storage, layer)
      }
      await push(storage, world, { manifest: image('mounted'), tag: 'y' })
    },
  }),
  /** Sends everything. */
  sender: (world: World, name = 'sent'): Actor => ({
    name: `sender-${name}`,
    run: async objects => {
      const storage = world.storageOf(objects, `sender-${name}`)
      await upload(storage, layer)
      await push(storage, world, { manifest: image(name), tag: 'z' })
    },
  }),
  /** Pushes, by digest alone, the manifest that the deleter deletes. */
  restorer: (world: World): Actor => ({
    name: 'restorer',
    run: async objects => {
      const storage = world.storageOf(objects, 'restorer')
      if ((await holdBlob(storage, repository, { digest: layer.digest })) === undefined) {
        await upload(storage, layer)
      }
      await push(storage, world, { manifest: old, tag: 'again' })
    },
  }),
  /** Pushes the image that the deleter deletes again and again: the second time on the strength of the first. */
  repeater: (world: World): Actor => ({
    name: 'repeater',
    run: async objects => {
      const storage = world.storageOf(objects, 'repeater')
      for (let i = 0; i < 3; i++) await push(storage, world, { manifest: old, tag: 'old' })
    },
  }),
  deleter: (world: World, from = repository): Actor => ({
    name: 'deleter',
    run: async objects => {
      // What was acknowledged before is what it is asked to delete.
      const storage = world.storageOf(objects, 'deleter')
      world.deleting = old.digest
      try {
        await deleteManifest(storage, from, { digest: old.digest })
      } catch (error) {
        if (!(error instanceof ResourceError)) throw error
      }
      world.deleting = undefined
    },
  }),
  collector: (
    world: World,
    { runs = 1, name = 'collector', deleteUntagged = false } = {},
  ): Actor => ({
    name,
    run: async objects => {
      const storage = world.storageOf(objects, name)
      for (let i = 0; i < runs; i++) {
        // As if the lease of whoever has it had run out: it is no part of the proof.
        await objects.delete(leaderKey)
        await collectGarbage(storage, { graceMs: 0, uploadExpiryMs: 1e9, deleteUntagged })
      }
    },
  }),
}

interface Start {
  /** Where the old image is; its layer is there and, in `src`, elsewhere. */
  readonly at: typeof repository
  /** Runs of the collector after the old image was deleted: the layer may be condemned. */
  readonly deletedRunsAgo?: number
}

function scenario(
  { at, deletedRunsAgo }: Start,
  choose: (world: World) => readonly Actor[],
): () => Promise<Scenario> {
  let first: Promise<FingerprintedStore> | undefined
  const checked = new Set<string>()
  return async () => {
    first ??= startFrom({ at, ...(deletedRunsAgo === undefined ? {} : { deletedRunsAgo }) })
    const objects = await (await first).copy()
    const world = newWorld()
    const checkOnce = async () => {
      const told = world.acknowledged.map(({ manifest }) => manifest.digest)
      const end = `${objects.fingerprint()} ${told}`
      if (!checked.has(end)) await check(objects, world)
      checked.add(end)
    }
    return { objects, actors: choose(world), check: checkOnce }
  }
}

async function startFrom({ at, deletedRunsAgo }: Start): Promise<FingerprintedStore> {
  const objects = new FingerprintedStore()
  const storage = newWorld().storageOf(objects, 'setup')
  await upload(storage, layer, at)
  const { bytes, mediaType: contentType } = old
  await pushManifest(storage, at, { bytes, contentType, tags: [parseTag('old')] })
  if (deletedRunsAgo !== undefined) {
    await deleteManifest(storage, at, { digest: old.digest })
    await collect(storage, deletedRunsAgo)
  }
  return objects
}

async function collect(storage: RegistryStorage, runs: number): Promise<void> {
  // An untagged manifest that was acknowledged stays: only what is unreferenced goes.
  for (let i = 0; i < runs; i++) await collectGarbage(storage, { graceMs: 0, uploadExpiryMs: 1e9 })
}

async function check(objects: FingerprintedStore, world: World): Promise<void> {
  const storage = world.storageOf(objects, 'check')
  await expectWhole(storage, world.acknowledged)
  // A collector that died has the lease; a new one may not wait for it here.
  await objects.delete(leaderKey)
  await collect(storage, 4)
  await expectWhole(storage, world.acknowledged)
  await expectNoGarbage(storage)
}

/** A start with `deletedRunsAgo` has the layer condemned: the next run of the collector removes it. */
const cases: readonly [string, () => Promise<Scenario>][] = [
  [
    'a push that reuses a layer, and the deletion of what had it',
    scenario({ at: repository }, world => [
      actors.reuser(world),
      actors.deleter(world),
      actors.collector(world, { runs: 2 }),
    ]),
  ],
  [
    'a push that reuses a layer that is condemned',
    scenario({ at: repository, deletedRunsAgo: 1 }, world => [
      actors.reuser(world),
      actors.collector(world),
    ]),
  ],
  [
    'a push that mounts a layer that is condemned where it is',
    scenario({ at: source, deletedRunsAgo: 1 }, world => [
      actors.mounter(world),
      actors.collector(world),
    ]),
  ],
  [
    'a push that reuses a condemned layer, and one that sends it',
    scenario({ at: repository, deletedRunsAgo: 1 }, world => [
      actors.reuser(world),
      actors.sender(world),
      actors.collector(world),
    ]),
  ],
  [
    'a push that mounts a condemned layer, and one that sends it',
    scenario({ at: source, deletedRunsAgo: 1 }, world => [
      actors.mounter(world),
      actors.sender(world),
      actors.collector(world),
    ]),
  ],
  [
    'a push that reuses a layer that nothing needs, and two collectors',
    scenario({ at: repository, deletedRunsAgo: 0 }, world => [
      actors.reuser(world),
      actors.collector(world),
      actors.collector(world, { name: 'other' }),
    ]),
  ],
  [
    'two pushes and a deletion of one image, and two collectors that remove the untagged',
    scenario({ at: repository }, world => [
      actors.restorer(world),
      actors.reuser(world),
      actors.deleter(world),
      actors.collector(world, { deleteUntagged: true }),
      actors.collector(world, { name: 'other', deleteUntagged: true }),
    ]),
  ],
  [
    'pushes of what is there, its deletion, and a collector that removes the untagged',
    scenario({ at: repository }, world => [
      actors.repeater(world),
      actors.deleter(world),
      actors.collector(world, { deleteUntagged: true }),
    ]),
  ],
]

/** Judgements that stood still while the other's sentence was passed: all orders, not some of them. */
const judged = scenario({ at: repository, deletedRunsAgo: 0 }, world => [
  actors.tagger(world),
  actors.judge(world, 'judge'),
  actors.judge(world, 'slow judge'),
])

const { TSREGISTRY_SCHEDULES = '2000' } = process.env

const bounds: Bounds = { preemptions: 3, crashes: 1, schedules: Number(TSREGISTRY_SCHEDULES) }

describe('the collector', () => {
  it.each(cases)('beside %s', { timeout: 900_000 }, async (_, make) => {
    const { schedules, isComplete } = await explore(make, bounds)
    expect(isComplete || schedules === bounds.schedules).toBe(true)
  })

  it('looks at links before it looks for what names them', { timeout: 300_000 }, async () => {
    const all = { preemptions: 2, crashes: 0, schedules: 20_000 }
    expect(await explore(judged, all)).toMatchObject({ isComplete: true })
  })
})
