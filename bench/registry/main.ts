/**
 * tsregistry beside Debian's docker-registry: the same client, the same machine, one after the other.
 * Prints medians and ratios; a ratio above 1 is ours being better. `--quick` makes a tenth of the
 * tags; other words on the command line choose the lines that have them.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { digestOf, hammer, manifestOf, mustBe, pushBlob, pushManifest, send } from './client.ts'
import { type MeasuredServer, startDistribution, startOurs } from './servers.ts'
import { openSlowUploads, sendLargeManifests } from './slow.ts'

interface Row {
  readonly what: string
  readonly unit: string
  readonly goal: number
  readonly better: 'more' | 'less'
  measure(server: MeasuredServer): Promise<number>
}

const MiB = 1024 * 1024

const words = process.argv.slice(2)
const tagScale = words.includes('--quick') ? 0.1 : 1
const chosen = words.filter(word => !word.startsWith('--'))

const rows: readonly Row[] = [
  {
    what: 'manifest GET by tag, 32 connections',
    unit: '/s',
    goal: 3,
    better: 'more',
    measure: async ({ port }) => {
      const config = Buffer.from('{}')
      await pushBlob(port, 'get', config)
      await pushManifest(port, { name: 'get', reference: 'x' }, manifestOf(config, []))
      const load = { connections: 32, forMs: 1000 }
      await hammer(port, '/v2/get/manifests/x', load)
      const times = await hammer(port, '/v2/get/manifests/x', { ...load, forMs: 3000 })
      return times.length / 3
    },
  },
  {
    what: 'image of 1 MB, push',
    unit: 'ms',
    goal: 1.5,
    better: 'less',
    measure: ({ port }) => medianOf(15, i => pushImage(port, `p${i}`)),
  },
  {
    what: 'image of 1 MB, pull',
    unit: 'ms',
    goal: 1.5,
    better: 'less',
    measure: async ({ port }) => {
      const paths = await pushImage(port, 'pull')
      return medianOf(60, async () => {
        for (const path of paths) mustBe(200, await send(port, path))
      })
    },
  },
  {
    what: 'blob of 100 MB, push',
    unit: 'ms',
    goal: 1,
    better: 'less',
    measure: async ({ port }) => {
      const bytes = randomBytes(100 * MiB)
      return medianOf(3, async i => {
        bytes[0] = i
        await pushBlob(port, 'large', bytes)
      })
    },
  },
  {
    what: 'blob of 100 MB, pull',
    unit: 'ms',
    goal: 1,
    better: 'less',
    measure: async ({ port }) => {
      const bytes = randomBytes(100 * MiB)
      await pushBlob(port, 'large', bytes)
      const path = `/v2/large/blobs/${digestOf(bytes)}`
      return medianOf(5, async () => {
        mustBe(200, await send(port, path))
      })
    },
  },
  {
    what: 'page of 100 tags among 100,000',
    unit: 'ms',
    goal: 10,
    better: 'less',
    measure: async server => {
      await seedTags(server, { name: 'many', count: 100_000, hints: false })
      await send(server.port, '/v2/many/tags/list?n=100')
      return medianOf(5, async i => {
        mustBe(200, await send(server.port, `/v2/many/tags/list?n=100&last=t5${i}000`))
      })
    },
  },
  {
    what: 'delete by digest among 10,000 tags',
    unit: 'ms',
    goal: 10,
    better: 'less',
    measure: async server => {
      const { port } = server
      await seedTags(server, { name: 'few', count: 10_000, hints: true })
      const digests: string[] = []
      for (let i = 0; i < 3; i++) {
        const config = randomBytes(8)
        await pushBlob(port, 'few', config)
        const manifest = manifestOf(config, [])
        await pushManifest(port, { name: 'few', reference: `own${i}` }, manifest)
        digests.push(digestOf(manifest))
      }
      return medianOf(3, async i => {
        const path = `/v2/few/manifests/${digests[i]}`
        mustBe(202, await send(port, path, { method: 'DELETE' }))
      })
    },
  },
]

async function pushImage(port: number, name: string): Promise<string[]> {
  const blobs = [randomBytes(500), randomBytes(700_000), randomBytes(300_000)] as const
  const [config, ...layers] = blobs
  await Promise.all(blobs.map(blob => pushBlob(port, name, blob)))
  await pushManifest(port, { name, reference: 'x' }, manifestOf(config, layers))
  return [`/v2/${name}/manifests/x`, ...blobs.map(blob => `/v2/${name}/blobs/${digestOf(blob)}`)]
}

/** Through the storage: a hundred thousand pushes would take longer than all the rest. */
async function seedTags(
  { name: server, port, root }: MeasuredServer,
  tags: { readonly name: string; readonly count: number; readonly hints: boolean },
): Promise<void> {
  const config = Buffer.from('{}')
  await pushBlob(port, tags.name, config)
  const manifest = manifestOf(config, [])
  await pushManifest(port, { name: tags.name, reference: 't' }, manifest)
  const digest = digestOf(manifest)
  const write = (path: string, text: string) => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  for (let i = 0; i < tags.count * tagScale; i++) {
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

async function medianOf(count: number, run: (i: number) => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const started = performance.now()
    await run(i)
    times.push(performance.now() - started)
  }
  return percentile(times, 0.5)
}

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

async function compare(row: Row): Promise<void> {
  const measure = async (start: () => Promise<MeasuredServer | undefined>) => {
    await using server = await start()
    return server === undefined ? Number.NaN : await row.measure(server)
  }
  const theirs = await measure(startDistribution)
  const ours = await measure(() => startOurs(['--gc-interval', '0']))
  const ratio = row.better === 'more' ? ours / theirs : theirs / ours
  const mark = Number.isNaN(ratio) ? '' : ratio >= row.goal ? 'ok' : 'MISSED'
  print([
    row.what,
    `${ours.toFixed(1)} ${row.unit}`,
    `${theirs.toFixed(1)} ${row.unit}`,
    `${ratio.toFixed(2)}x`,
    `goal ${row.goal}x ${mark}`,
  ])
}

/** A hundred repositories of garbage, collected over and over while one image is pulled. */
async function latencyDuringCollection(): Promise<void> {
  await using server = await startOurs(['--gc-interval', '20ms', '--gc-grace', '0'])
  await using quiet = await startOurs(['--gc-interval', '0'])
  const p99Of = async ({ port }: MeasuredServer) => {
    for (let i = 0; i < 50; i++) await pushImage(port, `image${i}`)
    const times = await hammer(port, '/v2/image0/manifests/x', { connections: 8, forMs: 4000 })
    return percentile(times, 0.99)
  }
  const without = await p99Of(quiet)
  const during = await p99Of(server)
  const ratio = during / without
  print([
    'p99 of pulls during collection',
    `${during.toFixed(1)} ms`,
    `${without.toFixed(1)} ms without`,
    `${ratio.toFixed(2)}x`,
    `goal at most 1.5x ${ratio <= 1.5 ? 'ok' : 'MISSED'}`,
  ])
}

async function memory(what: string, load: (port: number) => Promise<Disposable>): Promise<void> {
  await using server = await startOurs(['--gc-interval', '0'])
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, server.rss())
  }, 20)
  using _ = await load(server.port)
  clearInterval(timer)
  const mark = peak <= 250 ? 'ok' : 'MISSED'
  print([what, `${peak.toFixed(0)} MiB`, '', '', `goal at most 250 MiB ${mark}`])
}

function print(cells: readonly string[]): void {
  const widths = [42, 16, 18, 9, 0]
  console.log(
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('')
      .trimEnd(),
  )
}

const lines: readonly (readonly [what: string, run: () => Promise<void>])[] = [
  ...rows.map(row => [row.what, () => compare(row)] as const),
  ['p99 of pulls during collection', latencyDuringCollection],
  ...(
    [
      ['RSS, 256 slow uploads', openSlowUploads],
      ['RSS, 256 manifests of 4 MiB at once', sendLargeManifests],
    ] as const
  ).map(([what, load]) => [what, () => memory(what, load)] as const),
]

print(['', 'tsregistry', 'docker-registry', 'ratio'])
for (const [what, run] of lines) {
  if (chosen.length === 0 || chosen.some(word => what.includes(word))) await run()
}
