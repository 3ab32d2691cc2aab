/** Images made in memory, and the two ends they travel between. */

import { type ContentStore, putBlob } from '../../../src/layerfs/content/content-store.ts'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { type DiffId, type Digest, digestOf } from '../../../src/oci/digest.ts'
import { encodeImageConfig } from '../../../src/oci/image-config.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { parsePlatform } from '../../../src/oci/platform.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import {
  type ClientOptions,
  createRegistryClient,
  type RegistryClient,
} from '../../../src/registry/client/client.ts'
import type { FakeRegistry } from './fake-registry.ts'

export const amd64 = parsePlatform('linux/amd64')

/** Bytes that differ with `seed` and do not compress. */
export function bytesOf(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let state = seed * 2654435761 + 1
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    bytes[at] = state >>> 16
  }
  return bytes
}

export interface Image {
  readonly store: ContentStore
  readonly root: Descriptor
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

export async function putDocument(
  store: ContentStore,
  value: unknown,
  mediaType: string,
): Promise<Descriptor> {
  return putBytes(store, new TextEncoder().encode(JSON.stringify(value)), mediaType)
}

export async function putBytes(
  store: ContentStore,
  bytes: Uint8Array,
  mediaType: string,
): Promise<Descriptor> {
  return { mediaType, ...(await putBlob(store, [bytes])) }
}

export async function makeImage(
  layers: readonly Uint8Array[],
  { store = memoryStore(), architecture = 'amd64' } = {},
): Promise<Image> {
  const descriptors: Descriptor[] = []
  for (const layer of layers) descriptors.push(await putBytes(store, layer, mediaTypes.layer))
  const config = await putBytes(
    store,
    encodeImageConfig({
      architecture,
      os: 'linux',
      config: { Cmd: ['/bin/sh'] },
      rootfs: {
        type: 'layers',
        diff_ids: layers.map(layer => digestOf(layer) as string as DiffId),
      },
      history: [],
    }),
    mediaTypes.config,
  )
  const root = await putDocument(
    store,
    { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: descriptors },
    mediaTypes.manifest,
  )
  return { store, root, config, layers: descriptors }
}

/** An index of two images in one store: linux/amd64 and linux/arm64. */
export async function makeIndex(store = memoryStore()) {
  const one = await makeImage([bytesOf(1000, 1), bytesOf(2000, 2)], { store })
  const two = await makeImage([bytesOf(1000, 1), bytesOf(3000, 3)], {
    store,
    architecture: 'arm64',
  })
  const manifests = [
    { ...one.root, platform: { os: 'linux', architecture: 'amd64' } },
    { ...two.root, platform: { os: 'linux', architecture: 'arm64' } },
  ]
  const root = await putDocument(
    store,
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    mediaTypes.index,
  )
  return { store, root, one, two }
}

/** Puts an image straight into a fake registry, under a tag. */
export async function seed(registry: FakeRegistry, image: Image, tag = 'latest'): Promise<void> {
  for (const { digest } of [image.config, ...image.layers]) {
    registry.blobs.set(digest, await image.store.read(digest))
  }
  await seedManifest(registry, image.store, { ...image.root, tag })
}

export async function seedManifest(
  registry: FakeRegistry,
  store: ContentStore,
  { digest, mediaType, tag }: { digest: Digest; mediaType: string; tag?: string },
): Promise<void> {
  const manifest = { type: mediaType, bytes: await store.read(digest) }
  registry.manifests.set(digest, manifest)
  if (tag !== undefined) registry.manifests.set(tag, manifest)
}

/** A client that retries without waiting long. */
export function testClient(options: Partial<ClientOptions> = {}): RegistryClient {
  return createRegistryClient({
    userAgent: 'tsbuild/test',
    retry: { baseMs: 1, attempts: 4 },
    ...options,
  })
}

export function referenceAt(host: string, name = 'team/app:latest') {
  return parseReference(`${host}/${name}`)
}
