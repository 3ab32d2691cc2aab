/**
 * Clients push, mount, ask for, pull and delete while garbage is collected all the time, by the
 * server and by a process beside it (registry 4.6 #7). TSREGISTRY_SOAK_MS makes it longer.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { type Content, content, imageOf } from './contents.ts'
import { serveRegistry } from './program.ts'

const { TSREGISTRY_SOAK_MS = '6000' } = process.env
const soakMs = Number(TSREGISTRY_SOAK_MS)

let compiled: Compiled
let root: string
beforeAll(async () => {
  compiled = compileSources()
  root = await mkdtemp(join(tmpdir(), 'tsregistry-soak-'))
}, 60_000)
afterAll(async () => {
  compiled[Symbol.dispose]()
  await rm(root, { recursive: true, force: true })
})

it(`every image pushed during ${soakMs} ms of collecting can be pulled until it is deleted`, {
  timeout: soakMs + 60_000,
}, async () => {
  // The time of grace must be longer than one push takes here, and is much shorter than the soak.
  const grace = ['--gc-grace', '1s']
  const registry = await serveRegistry(compiled.dist, root, ['--gc-interval', '300ms', ...grace])
  onTestFinished(async () => void (await registry.stop('SIGKILL')))
  const until = Date.now() + soakMs
  const workers = Array.from({ length: 4 }, (_, worker) => work(registry.port, { worker, until }))
  const collector = collectBeside(until, grace)
  const rounds = await Promise.all(workers)
  await collector
  expect(Math.min(...rounds)).toBeGreaterThan(0)
  expect(registry.log()).toMatch(/collected garbage/)
  expect(registry.log()).not.toMatch(/"level":"error"/)
  expect(await registry.stop('SIGTERM')).toBe(0)
})

/** All share their layers, so that one deletes what another is about to use. */
const layers = Array.from({ length: 3 }, (_, i) => content(`shared layer ${i}`))
const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))

interface Job {
  readonly worker: number
  readonly until: number
}

async function work(port: number, { worker, until }: Job): Promise<number> {
  let round = 0
  for (; Date.now() < until; round++) {
    const name = `soak-${worker % 2}`
    const own = layers.filter((_, i) => (round + i + worker) % 3 !== 0)
    const image = imageOf(own, { annotations: { by: `${worker}`, round: `${round}` } })
    const client = clientOf(port, name)
    for (const blob of [config, ...own]) await client.ensure(blob, `soak-${(worker + 1) % 2}`)
    await client.put(image, `t${worker}`)
    for (let i = 0; i < 3; i++) {
      await client.pull(image, [config, ...own])
      await sleep(round % 3 === 0 ? 500 : 20)
    }
    await client.remove(image)
    // Long enough, now and then, for what nobody uses to go.
    if (round % 4 === 3) await sleep(2500)
  }
  return round
}

function clientOf(port: number, name: string) {
  const send = (method: string, path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}/v2/${path}`, { ...init, method })
  return {
    ensure: async (blob: Content, from: string) => {
      if ((await send('HEAD', `${name}/blobs/${blob.digest}`)).status === 200) return
      const mount = await send('POST', `${name}/blobs/uploads/?mount=${blob.digest}&from=${from}`)
      if (mount.status === 201) return
      const put = await send('POST', `${name}/blobs/uploads/?digest=${blob.digest}`, {
        body: new Uint8Array(blob.bytes),
      })
      expect(put.status).toBe(201)
    },
    put: async (image: Content, tag: string) => {
      const answer = await send('PUT', `${name}/manifests/${tag}`, {
        headers: { 'content-type': image.mediaType },
        body: new Uint8Array(image.bytes),
      })
      expect([answer.status, await answer.text()]).toEqual([201, ''])
    },
    pull: async (image: Content, blobs: readonly Content[]) => {
      expect((await send('GET', `${name}/manifests/${image.digest}`)).status).toBe(200)
      for (const { digest } of blobs) {
        const answer = await send('GET', `${name}/blobs/${digest}`)
        expect([digest, answer.status]).toEqual([digest, 200])
        expect(digestOf(Buffer.from(await answer.arrayBuffer()))).toBe(digest)
      }
    },
    remove: async (image: Content) => {
      expect((await send('DELETE', `${name}/manifests/${image.digest}`)).status).toBe(202)
    },
  }
}

/** `tsregistry garbage-collect`, again and again; it may find the server at work. */
async function collectBeside(until: number, grace: readonly string[]): Promise<void> {
  const program = join(compiled.dist, 'cli/tsregistry.js')
  while (Date.now() < until) {
    const args = [program, 'garbage-collect', '--root', root, ...grace]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', chunk => {
      said += chunk
    })
    const [code] = await once(child, 'exit')
    if (code !== 0) expect(said).toMatch(/another process does/)
    await sleep(700)
  }
}
