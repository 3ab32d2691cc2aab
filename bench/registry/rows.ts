/** What is measured of a registry, and how much less than another it must take. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  type Blob,
  blobOf,
  digestOf,
  hammer,
  manifestOf,
  mustBe,
  pushBlob,
  pushManifest,
  receive,
  send,
} from './client.ts'
import type { MeasuredServer } from './servers.ts'

export interface Row {
  readonly what: string
  readonly goal: number
  readonly turns: number
  /** Does what comes before, unmeasured; the result does one turn and says how many times over. */
  prepare(server: MeasuredServer): Promise<(turn: number) => Promise<number>>
}

const MiB = 1024 * 1024

/** Pushes of images, after which V8 compiles little more: the 100th takes twice as long as the 500th. */
const warmUps = 400

export function rowsOf(tagScale: number): readonly Row[] {
  return [
    {
      what: 'manifest GET by tag, 32 connections',
      goal: 3,
      turns: 4,
      prepare: async ({ port }) => {
        const config = Buffer.from('{}')
        await pushBlob(port, 'get', blobOf(config))
        await pushManifest(port, { name: 'get', reference: 'x' }, manifestOf(config, []))
        const path = '/v2/get/manifests/x'
        await hammer(port, path, { connections: 32, forMs: 1000 })
        return async () => (await hammer(port, path, { connections: 32, forMs: 1000 })).length
      },
    },
    {
      what: 'image of 1 MB, push',
      goal: 1.5,
      turns: 15,
      prepare: async ({ port }) => {
        // A registry runs for weeks: it is measured when its code is compiled, as where GETs are.
        for (let i = 0; i < warmUps; i++) await pushImage(port, `first${i}`)
        const images = Array.from({ length: 15 }, newImage)
        return turn => once(pushImage(port, `p${turn}`, images[turn]))
      },
    },
    {
      what: 'image of 1 MB, pull',
      goal: 1.5,
      turns: 15,
      prepare: async ({ port }) => {
        const paths = await pushImage(port, 'pull')
        return async () => {
          for (let i = 0; i < 4; i++) {
            for (const path of paths) mustBe(200, await send(port, path))
          }
          return 4
        }
      },
    },
    {
      what: 'blob of 100 MB, push',
      goal: 1,
      turns: 5,
      prepare: async ({ port }) => {
        const blobs = Array.from({ length: 5 }, () => blobOf(randomBytes(100 * MiB)))
        return turn => once(pushBlob(port, 'large', blobs[turn] as Blob))
      },
    },
    {
      what: 'blob of 100 MB, pull',
      goal: 1,
      turns: 9,
      prepare: async ({ port }) => {
        const bytes = randomBytes(100 * MiB)
        await pushBlob(port, 'large', blobOf(bytes))
        const path = `/v2/large/blobs/${digestOf(bytes)}`
        // Through `send` it is the client that takes the time, whoever serves.
        return () => once(receive(port, path))
      },
    },
    {
      what: 'page of 100 tags among 100,000',
      goal: 10,
      turns: 7,
      prepare: async server => {
        await seedTags(server, { name: 'many', count: 100_000 * tagScale, hints: false })
        const page = (last: string) => `/v2/many/tags/list?n=100&last=t${last}`
        await send(server.port, page('0'))
        return async turn => once(mustBe(200, await send(server.port, page(`05${turn}000`))))
      },
    },
    {
      what: 'delete by digest among 10,000 tags',
      goal: 10,
      turns: 4,
      prepare: async server => {
        const { port } = server
        await seedTags(server, { name: 'few', count: 10_000 * tagScale, hints: true })
        const digests: string[] = []
        for (let i = 0; i < 4; i++) {
          const config = randomBytes(8)
          await pushBlob(port, 'few', blobOf(config))
          const manifest = manifestOf(config, [])
          await pushManifest(port, { name: 'few', reference: `own${i}` }, manifest)
          digests.push(digestOf(manifest))
        }
        return async turn => {
          const path = `/v2/few/manifests/${digests[turn]}`
          return once(mustBe(202, await send(port, path, { method: 'DELETE' })))
        }
      },
    },
  ]
}

async function once(what: unknown): Promise<number> {
  await what
  return 1
}

interface Image {
  readonly blobs: readonly Blob[]
  readonly manifest: Uint8Array
}

/** Of 1 MB. */
export function newImage(): Image {
  const [config, ...layers] = [
    randomBytes(500),
    randomBytes(700_000),
    randomBytes(300_000),
  ] as const
  const blobs = [config, ...layers].map(blobOf)
  return { blobs, manifest: manifestOf(config, layers) }
}

export async function pushImage(port: number, name: string, image = newImage()): Promise<string[]> {
  const { blobs, manifest } = image
  await Promise.all(blobs.map(blob => pushBlob(port, name, blob)))
  await pushManifest(port, { name, reference: 'x' }, manifest)
  return [`/v2/${name}/manifests/x`, ...blobs.map(({ digest }) => `/v2/${name}/blobs/${digest}`)]
}

/** Through the storage: a hundred thousand pushes would take longer than all the rest. */
async function seedTags(
  { name: server, port, root }: MeasuredServer,
  tags: { readonly name: string; readonly count: number; readonly hints: boolean },
): Promise<void> {
  const config = Buffer.from('{}')
  await pushBlob(port, tags.name, blobOf(config))
  const manifest = manifestOf(config, [])
  await pushManifest(port, { name: tags.name, reference: 't' }, manifest)
  const digest = digestOf(manifest)
  const write = (path: string, text: string) => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  for (let i = 0; i < tags.count; i++) {
    const tag = `t${String(i).padStart(6, '0')}`
    if (server === 'tsregistry') {
      const repository = join(root, 'objects/r', tags.name)
      write(join(repository, '_t', tag), JSON.stringify({ digest }))
      if (tags.hints) write(join(repository, '_mt', digest, tag), '')
    } else {
      const folder = join(root, 'data/docker/registry/v2/repositories', tags.name)
      write(join(folder, '_manifests/tags', tag, 'current/link'), digest)
    }
  }
}
