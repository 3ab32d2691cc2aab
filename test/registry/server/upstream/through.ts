/** A registry in front of another that does what a test says. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access } from '../../../../src/registry/server/access/access.ts'
import type {
  Copied,
  Failed,
  Reports,
  Served,
} from '../../../../src/registry/server/upstream/context.ts'
import { createPullThrough } from '../../../../src/registry/server/upstream/pull-through.ts'
import type {
  UpstreamSettings,
  UpstreamTimeouts,
} from '../../../../src/registry/server/upstream/upstream.ts'
import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import type { ObjectStore } from '../../../../src/registry/storage/object-store.ts'
import { type FakeRegistry, fakeRegistry } from '../../client/fake-registry.ts'
import { type Content, imageOf, indexOf } from '../contents.ts'
import { startRegistry, type TestRegistry } from '../registry-server.ts'

/** Answers in the upstream's place, or returns `false`. */
export type Fault = (
  request: IncomingMessage,
  response: ServerResponse,
) => boolean | Promise<boolean>

export interface TestUpstream extends FakeRegistry {
  /** What goes wrong from now on; `undefined`: nothing. */
  fault: Fault | undefined
  put(content: Content, ...tags: readonly string[]): void
  /** Requests since the last call. */
  requests(): string[]
}

export async function startUpstream(): Promise<TestUpstream> {
  const state: { fault: Fault | undefined } = { fault: undefined }
  const registry = await fakeRegistry({
    before: async (request, response) => (await state.fault?.(request, response)) ?? false,
  })
  let read = 0
  return Object.defineProperty(
    Object.assign(registry, {
      put(content: Content, ...tags: readonly string[]) {
        const { bytes, digest, mediaType } = content
        const isManifest = mediaType.includes('manifest') || mediaType.includes('index')
        if (!isManifest) registry.blobs.set(digest, bytes)
        for (const name of isManifest ? [digest, ...tags] : []) {
          registry.manifests.set(name, { type: mediaType, bytes })
        }
      },
      requests() {
        const lines = registry.lines().slice(read)
        read += lines.length
        return lines
      },
    }),
    'fault',
    {
      get: () => state.fault,
      set: (fault: Fault | undefined) => {
        state.fault = fault
      },
    },
  ) as TestUpstream
}

export interface Events {
  readonly served: Served[]
  readonly copied: Copied[]
  readonly failed: Failed[]
  readonly dropped: unknown[]
  readonly notKept: unknown[]
}

export interface TestThrough extends TestRegistry {
  readonly events: Events
}

export interface ThroughSettings extends Partial<Omit<UpstreamSettings, 'url'>> {
  readonly url?: string
  readonly upstreams?: readonly (Partial<Omit<UpstreamSettings, 'url'>> & {
    readonly url: string
  })[]
  readonly objects?: ObjectStore
  readonly access?: Access
  readonly isReadOnly?: () => boolean
  readonly timeouts?: Partial<UpstreamTimeouts>
  readonly now?: () => Date
}

/** Below the prefix `up`, tags believed for no time, unless told otherwise. */
export async function startThrough(settings: ThroughSettings): Promise<TestThrough> {
  const events: Events = { served: [], copied: [], failed: [], dropped: [], notKept: [] }
  const { objects = new MemoryObjectStore(), access, isReadOnly, timeouts, now, ...one } = settings
  const reports: Reports = {
    served: event => events.served.push(event),
    copied: event => events.copied.push(event),
    failed: event => events.failed.push(event),
    dropped: event => events.dropped.push(event),
    notKept: event => events.notKept.push(event),
  }
  const upstreams = settings.upstreams ?? [{ ...one, url: settings.url ?? '' }]
  const registry = await startRegistry({
    objects,
    ...(access === undefined ? {} : { access }),
    ...(now === undefined ? {} : { now }),
    pullThrough: storage =>
      createPullThrough({
        storage,
        reports,
        isReadOnly,
        upstreams: upstreams.map(upstream => ({
          prefix: 'up',
          redirectHosts: [],
          tagTtlMs: 0,
          missTtlMs: 0,
          keepMs: Number.POSITIVE_INFINITY,
          ...upstream,
          url: new URL(upstream.url),
        })),
        network: { userAgent: 'test', timeouts: { staleAfterMs: 500, ...timeouts } },
      }),
  })
  return Object.assign(registry, { events })
}

/** An image with its layers, at the upstream under the tag. */
export function putImage(upstream: TestUpstream, tag: string, layers: readonly Content[]): Content {
  const image = imageOf(layers)
  for (const layer of layers) upstream.put(layer)
  upstream.put(image, tag)
  return image
}

export function putIndex(upstream: TestUpstream, tag: string, images: readonly Content[]): Content {
  const index = indexOf(images)
  upstream.put(index, tag)
  return index
}
