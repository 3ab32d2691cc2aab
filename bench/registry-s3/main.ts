/**
 * tsregistry over S3 beside CNCF Distribution over the same S3 server: times of pushes and pulls, and
 * how many requests each makes to S3. `--quick` makes a tenth of the tags; `--requests` counts only, and
 * `--trace` tells each request of ours besides.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findFullS3Server, startS3Server, type TestS3Server } from '../../test/support/s3-server.ts'
import { contest, median, table } from '../measure.ts'
import {
  type Blob,
  blobOf,
  digestOf,
  manifestOf,
  mustBe,
  pushBlob,
  pushManifest,
  receive,
  send,
} from '../registry/client.ts'
import { startCountingProxy } from './counting-proxy.ts'
import { distributions, ours, type Rival } from './servers.ts'

const MiB = 1024 * 1024
const tagCount = process.argv.includes('--quick') ? 10_000 : 100_000

interface Image {
  readonly name: string
  readonly blobs: readonly Blob[]
  readonly manifest: Buffer
}

/** Made before what is measured: its digests take the client as long as a server takes for it. */
function newImage(name: string, sizes: readonly number[]): Image {
  const config = randomBytes(500)
  const layers = sizes.map(size => randomBytes(size))
  return { name, blobs: [config, ...layers].map(blobOf), manifest: manifestOf(config, layers) }
}

/** As containerd and BuildKit push: asked for, then sent, all layers at once, the manifest last. */
async function push(port: number, { name, blobs, manifest }: Image): Promise<void> {
  await Promise.all(
    blobs.map(async blob => {
      const asked = await send(port, `/v2/${name}/blobs/${blob.digest}`, { method: 'HEAD' })
      if (asked.status !== 200) await pushBlob(port, name, blob)
    }),
  )
  await pushManifest(port, { name, reference: 'x' }, manifest)
}

async function pull(port: number, { name, blobs }: Image): Promise<void> {
  mustBe(200, await send(port, `/v2/${name}/manifests/x`))
  for (const { digest } of blobs) await receive(port, `/v2/${name}/blobs/${digest}`)
}

const small = [700_000, 300_000]
const large = [100 * MiB]

async function times(server: TestS3Server, rivals: readonly Rival[]): Promise<void> {
  const running = await Promise.all(rivals.map(rival => rival.start(server.port)))
  const rows: string[][] = []
  const measure = async (
    what: string,
    runs: number,
    work: (port: number, run: number) => Promise<void>,
  ) => {
    const before = running.map(registry => registry.processorMs())
    const results = await contest(runs, {
      works: running.map(
        ({ port }) =>
          run =>
            work(port, run),
      ),
    })
    const used = running.map((registry, i) => (registry.processorMs() - (before[i] ?? 0)) / runs)
    for (const [kind, values] of [
      ['clock', results.map(median)],
      ['processor', used],
    ] as const) {
      const [own = Number.NaN, ...others] = values
      rows.push([
        `${what}, ${kind}`,
        `${own.toFixed(0)} ms`,
        ...others.flatMap(other => [`${other.toFixed(0)} ms`, `${(other / own).toFixed(2)}x`]),
      ])
    }
  }
  for (const [title, sizes, runs, pulls] of [
    ['1 MB', small, 15, 45],
    ['100 MB', large, 3, 11],
  ] as const) {
    const images = Array.from({ length: runs }, (_, run) =>
      newImage(`p${sizes.length}-${run}`, sizes),
    )
    await measure(`image of ${title}, push`, runs, (port, run) => push(port, images[run] as Image))
    const image = newImage('pull', sizes)
    for (const { port } of running) await push(port, image)
    await measure(`image of ${title}, pull`, pulls, port => pull(port, image))
  }
  console.log(
    table(['', ...rivals.flatMap(({ name }, i) => (i === 0 ? [name] : [name, 'ratio']))], rows),
  )
  for (const registry of running) await registry[Symbol.asyncDispose]()
}

async function requests(server: TestS3Server, rivals: readonly Rival[]): Promise<void> {
  const columns = await Promise.all(rivals.map(rival => countedBy(server, rival)))
  const rows = (columns[0] ?? []).map(([what], i) => [
    what,
    ...columns.map(column => column[i]?.[1] ?? ''),
  ])
  console.log(table(['requests to S3', ...rivals.map(({ name }) => name)], rows))
}

type Counted = readonly (readonly [what: string, requests: string])[]

async function countedBy(server: TestS3Server, rival: Rival): Promise<Counted> {
  const isTold = rival === ours && process.argv.includes('--trace')
  await using proxy = await startCountingProxy(server.port, isTold ? console.log : undefined)
  await using registry = await rival.start(proxy.port)
  const { port } = registry
  const counted: [string, string][] = []
  const count = async (what: string, work: () => Promise<unknown>) => {
    proxy.take()
    if (isTold) console.log(what)
    const unit = await work()
    const byMethod = Object.entries(proxy.take()).sort()
    const all = byMethod.reduce((sum, [, number]) => sum + number, 0)
    const each = typeof unit === 'number' ? `${(all / unit).toFixed(2)} each of ${unit}` : `${all}`
    counted.push([
      what,
      `${each} (${byMethod.map(([method, number]) => `${number} ${method}`).join(', ')})`,
    ])
  }
  const image = newImage('counted', small)
  await count('push of an image of 3 blobs', () => push(port, image))
  await count('push of it again', () => push(port, image))
  await count('pull of it', () => pull(port, image))
  await count('pull of it again', () => pull(port, image))
  await seedTags(server, rival, digestOf(image.manifest))
  await count('page of 100 tags', async () =>
    mustBe(200, await send(port, '/v2/counted/tags/list?n=100')),
  )
  await count(`all of ${tagCount} tags, in pages`, () =>
    allTags(port, '/v2/counted/tags/list?n=1000'),
  )
  return counted
}

/** How many pages. */
async function allTags(port: number, first: string): Promise<number> {
  let pages = 0
  for (let path: string | undefined = first; path !== undefined; pages++) {
    const { headers } = mustBe(200, await send(port, path))
    path = /^<([^>]+)>/.exec(String(headers['link'] ?? ''))?.[1]
  }
  return pages
}

/** As files of the server's folder: a hundred thousand pushes would take longer than all the rest. */
async function seedTags({ root }: TestS3Server, rival: Rival, digest: string): Promise<void> {
  for (let i = 0; i < tagCount; i++) {
    const { key, text } = rival.tagFile('counted', `t${String(i).padStart(6, '0')}`, digest)
    const path = join(root, 'registry', key)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
}

if (findFullS3Server() !== 'versitygw')
  throw new Error(
    'versitygw is needed: go install github.com/versity/versitygw/cmd/versitygw@latest',
  )
await using server = await startS3Server('versitygw')
const rivals = [ours, ...distributions()]
if (!process.argv.includes('--requests')) await times(server, rivals)
await requests(server, rivals)
