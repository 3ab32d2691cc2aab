/**
 * kill -9 of tsregistry while clients push, mount, tag and delete. What a client was told holds
 * after the restart; what it was not told has happened whole or not at all.
 * Chunked uploads that go on after a kill: test/registry/server/kill.test.ts.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { type Content, content, imageOf } from '../registry/server/contents.ts'
import { serveRegistry } from '../registry/server/program.ts'
import { type Random, seededRandom } from './kill/moments.ts'
import { openPrograms, type Programs } from './kill/programs.ts'

/** KILL_ROUNDS makes it longer. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 25)
const clients = 4

let programs: Programs
beforeAll(() => {
  programs = openPrograms()
})
afterAll(() => programs[Symbol.dispose]())

/** What a client was told last about a path of its repository: there with these bytes, or gone. */
type Told = Map<string, Content | 'gone'>

interface Client {
  readonly repository: string
  readonly told: Told
  readonly random: Random
  /** Whose blobs it mounts. */
  readonly mountable: Client[]
}

/** One request, and what its success says. */
interface Act {
  readonly method: 'POST' | 'PUT' | 'DELETE'
  readonly path: string
  readonly body?: Content
  readonly says: readonly (readonly [path: string, state: Content | 'gone'])[]
}

it(`serve keeps its word over ${rounds} kills`, {
  timeout: 120_000 + rounds * 20_000,
}, async () => {
  const random = seededRandom('kill-tsregistry')
  const root = join(programs.work, 'registry')
  const all = Array.from({ length: clients }, (_, i): Client => {
    return { repository: `client-${i}`, told: new Map(), random, mountable: [] }
  })
  for (const [i, client] of all.entries()) client.mountable.push(...all.slice(0, i))
  for (let round = 0; round < rounds; round++) {
    const registry = await serveRegistry(programs.dist, root)
    await Promise.all(all.map(client => expectWordKept(registry.port, client, 20)))
    const working = all.map(client => workUntilKilled(registry.port, client))
    // At first at any moment, then with something to lose: a busy machine is slow to push at all.
    if (round % 4 > 0) await untilTagged(all)
    await sleep(50 + random() * 400)
    await registry.stop('SIGKILL')
    await Promise.all(working)
  }
  const registry = await serveRegistry(programs.dist, root)
  for (const client of all) {
    expect(client.told.size).toBeGreaterThan(rounds / 4)
    await expectWordKept(registry.port, client, Number.POSITIVE_INFINITY)
    await expectListedTagsServed(registry.port, client)
    const fresh = imageOf([], { annotations: { fresh: client.repository } })
    await push(registry.port, client, { ...tagging(fresh, 'fresh'), method: 'PUT' })
  }
  expect(readdirSync(join(root, 'temporary'))).toEqual([])
  expect(await registry.stop('SIGTERM')).toBe(0)
})

/** Every client has been told of some tag. */
async function untilTagged(all: readonly Client[]): Promise<void> {
  const hasTag = ({ told }: Client) => [...told.keys()].some(path => path.includes('/tag-'))
  for (const until = Date.now() + 10_000; Date.now() < until && !all.every(hasTag); ) await sleep(5)
}

async function workUntilKilled(port: number, client: Client): Promise<void> {
  try {
    for (;;) for (const act of actsOf(client)) await push(port, client, act)
  } catch (error) {
    // The server is gone: that is how it should end, and nothing else.
    expect(error).toBeInstanceOf(TypeError)
  }
}

/** Until it is answered, neither the state before nor the one after is known to hold. */
async function push(port: number, { repository, told }: Client, act: Act): Promise<void> {
  for (const [path] of act.says) told.delete(path)
  const answer = await fetch(`http://127.0.0.1:${port}/v2/${repository}/${act.path}`, {
    method: act.method,
    ...(act.body === undefined
      ? {}
      : {
          headers: { 'content-type': act.body.mediaType },
          body: new Uint8Array(act.body.bytes),
        }),
  })
  await answer.arrayBuffer()
  expect([act.path, answer.status]).toEqual([act.path, act.method === 'DELETE' ? 202 : 201])
  for (const [path, state] of act.says) told.set(path, state)
}

/** A push of an image, one layer of it mounted from another's; sometimes something is deleted. */
function actsOf(client: Client): Act[] {
  const { repository, told, random } = client
  const layer = content(randomBytes(1 + Math.floor(random() * 300_000)))
  const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
  const loose = content(randomBytes(1000))
  const shared = mountableBlob(client)
  const layers = shared === undefined ? [layer] : [layer, shared.body]
  const image = imageOf(layers, { annotations: { repository } })
  const acts = [
    ...(shared === undefined ? [] : [shared.act]),
    ...[layer, config, loose].map(blob),
    tagging(image, `tag-${Math.floor(random() * 20)}`),
    deletion([`blobs/${loose.digest}`]),
  ]
  return random() < 0.3 ? [...acts, ...deletionsIn(told)] : acts
}

function blob(body: Content): Act {
  const path = `blobs/uploads/?digest=${body.digest}`
  return { method: 'POST', path, body, says: [[`blobs/${body.digest}`, body]] }
}

function mountableBlob({ mountable, random }: Client): { act: Act; body: Content } | undefined {
  const from = mountable[Math.floor(random() * mountable.length)]
  const layers = [...(from?.told.values() ?? [])].filter(
    state => state !== 'gone' && state.bytes.length > 1000 && state.mediaType === mediaTypes.layer,
  )
  const body = layers.at(-1)
  if (from === undefined || body === undefined || body === 'gone') return undefined
  const path = `blobs/uploads/?mount=${body.digest}&from=${from.repository}`
  return { act: { method: 'POST', path, says: [[`blobs/${body.digest}`, body]] }, body }
}

function deletion(paths: readonly [string, ...string[]]): Act {
  return { method: 'DELETE', path: paths[0], says: paths.map(path => [path, 'gone'] as const) }
}

function tagging(image: Content, tag: string): Act {
  return {
    method: 'PUT',
    path: `manifests/${tag}`,
    body: image,
    says: [
      [`manifests/${tag}`, image],
      [`manifests/${image.digest}`, image],
    ],
  }
}

/** Of a tag, and of the oldest manifest with all tags that point at it. */
function deletionsIn(told: Told): Act[] {
  const there = [...told].filter(([, state]) => state !== 'gone')
  const tag = there.find(([path]) => path.startsWith('manifests/tag-'))
  const manifest = there.find(([path]) => path.startsWith('manifests/sha256:'))
  const acts = tag === undefined ? [] : [deletion([tag[0]])]
  if (manifest === undefined) return acts
  const tags = there.filter(([path, state]) => state === manifest[1] && path !== manifest[0])
  return [...acts, deletion([manifest[0], ...tags.map(([path]) => path)])]
}

async function expectWordKept(port: number, client: Client, newest: number): Promise<void> {
  const { repository, told } = client
  const paths = newest === Number.POSITIVE_INFINITY ? [...told] : [...told].slice(-newest)
  const kept = async ([path, state]: readonly [string, Content | 'gone']) => {
    const answer = await fetch(`http://127.0.0.1:${port}/v2/${repository}/${path}`)
    const bytes = Buffer.from(await answer.arrayBuffer())
    expect([path, answer.status]).toEqual([path, state === 'gone' ? 404 : 200])
    if (state !== 'gone') expect([path, digestOf(bytes)]).toEqual([path, state.digest])
  }
  for (let at = 0; at < paths.length; at += 40) {
    await Promise.all(paths.slice(at, at + 40).map(kept))
  }
}

/** A tag that is listed can be pulled with all its blobs, whether its push was answered or not. */
async function expectListedTagsServed(port: number, { repository }: Client): Promise<void> {
  const base = `http://127.0.0.1:${port}/v2/${repository}`
  const { tags } = (await (await fetch(`${base}/tags/list`)).json()) as { tags: string[] }
  expect(tags.length).toBeGreaterThan(0)
  for (const tag of tags) {
    const answer = await fetch(`${base}/manifests/${tag}`)
    expect([tag, answer.status]).toEqual([tag, 200])
    const { layers } = (await answer.json()) as { layers: { digest: string; size: number }[] }
    for (const { digest, size } of layers) {
      const blob = Buffer.from(await (await fetch(`${base}/blobs/${digest}`)).arrayBuffer())
      expect([digest, blob.length, digestOf(blob)]).toEqual([digest, size, digest])
    }
  }
}
