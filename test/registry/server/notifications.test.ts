/** `notifications` of a server that runs: what clients do, as endpoints hear of it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { describeWith } from '../../support/requires.ts'
import { eventsOf, startReceiver } from '../notifications/receiver.ts'

const program = join(import.meta.dirname, '../../../dist/cli/tsregistry.js')
const folder = mkdtempSync(join(tmpdir(), 'tsregistry-notifications-'))
const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

const configOf = (name: string, endpoints: string) => `version: 0.1
storage: {filesystem: {rootdirectory: ${join(folder, name)}}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0", debug: {addr: "127.0.0.1:0", prometheus: {enabled: true}}}
notifications:
  events: {includereferences: true}
  endpoints:
${endpoints}
`

/** More than one of a name share its folder. */
async function serve(name: string, endpoints: string) {
  const file = join(folder, `${name}-${children.size}.yml`)
  writeFileSync(file, configOf(name, endpoints))
  const child = spawn(process.execPath, [program, 'serve', file])
  children.add(child)
  const said = { out: '', log: '' }
  child.stdout.on('data', chunk => {
    said.out += chunk
  })
  child.stderr.on('data', chunk => {
    said.log += chunk
  })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  await until(() => {
    if (child.exitCode !== null) throw new Error(said.log)
    return /metrics on \S+\n/.test(said.out)
  })
  return {
    url: /Listening on (\S+),/.exec(said.out)?.[1] ?? '',
    debug: /metrics on (\S+)\n/.exec(said.out)?.[1] ?? '',
    log: () => said.log,
    reload: (next: string) => {
      writeFileSync(file, configOf(name, next))
      child.kill('SIGHUP')
    },
    end: async (signal: 'SIGTERM' | 'SIGKILL') => {
      child.kill(signal)
      await exited
      children.delete(child)
    },
  }
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await isSo()); await sleep(30)) {
    if (Date.now() > deadline) throw new Error('It did not come to be')
  }
}

const layer = Buffer.from('a layer')
const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const descriptor = { mediaType: 'application/x', digest: digestOf(layer), size: layer.length }
const manifest = Buffer.from(
  JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config: descriptor, layers: [] }),
)

const put = (url: string, tag: string) =>
  fetch(`${url}/v2/app/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': manifestType },
    body: manifest,
  })

describeWith(['build'], 'tsregistry serve with notifications', () => {
  it('tells of push, mount, pull and delete, names no secret in the log, and counts', async () => {
    await using receiver = await startReceiver()
    const server = await serve(
      'told',
      `    - {name: a, url: "${receiver.url}", headers: {Authorization: [Bearer s3cret]}, ignore: {mediatypes: [application/x-none]}}
    - {name: gone, url: "http://user:s3cret@127.0.0.1:9/", timeout: 1s, threshold: 2, backoff: 1h}`,
    )
    const { url } = server
    const blob = `blobs/uploads/?digest=${digestOf(layer)}`
    expect((await fetch(`${url}/v2/app/${blob}`, { method: 'POST', body: layer })).status).toBe(201)
    const mount = `blobs/uploads/?mount=${digestOf(layer)}&from=app`
    expect((await fetch(`${url}/v2/other/${mount}`, { method: 'POST' })).status).toBe(201)
    expect((await put(url, '1.0')).status).toBe(201)
    await fetch(`${url}/v2/app/manifests/1.0`, { method: 'HEAD' })
    await (await fetch(`${url}/v2/app/manifests/1.0`)).arrayBuffer()
    await (await fetch(`${url}/v2/app/blobs/${digestOf(layer)}`)).arrayBuffer()
    await fetch(`${url}/v2/app/manifests/1.0`, { method: 'DELETE' })
    await fetch(`${url}/v2/app/manifests/${digestOf(manifest)}`, { method: 'DELETE' })
    await fetch(`${url}/v2/app/blobs/${digestOf(layer)}`, { method: 'DELETE' })
    await until(() => eventsOf(receiver.posts).length === 8)
    const events = eventsOf(receiver.posts)
    const { digest } = descriptor
    const references = [descriptor]
    expect(
      events.map(({ action, target: { url: _, ...target } }) => ({ action, ...target })),
    ).toEqual([
      { action: 'push', ...blobTarget('app') },
      { action: 'mount', ...blobTarget('other'), fromRepository: 'app' },
      { action: 'push', ...manifestTarget(), references },
      { action: 'pull', ...manifestTarget(), references },
      { action: 'pull', ...blobTarget('app') },
      { action: 'delete', repository: 'app', tag: '1.0' },
      { action: 'delete', repository: 'app', digest: digestOf(manifest) },
      { action: 'delete', repository: 'app', digest },
    ])
    expect(events[2].target.url).toBe(`${url}/v2/app/manifests/${digestOf(manifest)}`)
    expect(await (await fetch(events[2].target.url.replace('/manifests/', '/blobs/'))).status).toBe(
      404,
    )
    expect(events[3].request).toMatchObject({ method: 'GET', host: new URL(url).host })
    await until(() => /"endpoint":"gone","reason":"E\w+"/.test(server.log()))
    expect(server.log()).not.toContain('s3cret')
    const metrics = await (await fetch(`${server.debug}/metrics`)).text()
    expect(metrics).toMatch(/events_total\{type="Successes",endpoint="a"\} 8/)
    expect(metrics).toMatch(/registry_notifications_pending\{endpoint="gone"\} 8/)
    await server.end('SIGTERM')
  })

  it('tells at least once of every push that was acknowledged, whenever it is killed', {
    timeout: 60_000,
  }, async () => {
    const down = await startReceiver()
    const address = down.url
    await down[Symbol.asyncDispose]()
    const endpoints = `    - {name: a, url: "${address}", backoff: 50ms}`
    const acknowledged: string[] = []
    for (let round = 0; round < 2; round++) {
      const server = await serve('killed', endpoints)
      let isUp = true
      const pushing = [0, 1, 2].map(async worker => {
        for (let index = 0; isUp; index++) {
          const tag = `r${round}w${worker}n${index}`
          const answer = await put(server.url, tag).catch(() => undefined)
          if (answer?.status === 201) acknowledged.push(tag)
        }
      })
      await until(() => acknowledged.length > 8 * (round + 1))
      await server.end('SIGKILL')
      isUp = false
      await Promise.all(pushing)
    }
    await using receiver = await startReceiver(Number(new URL(address).port))
    const server = await serve('killed', endpoints)
    const told = () => new Set(eventsOf(receiver.posts).map(({ target }) => target.tag))
    await until(() => acknowledged.every(tag => told().has(tag)))
    await server.end('SIGTERM')
  })

  it('tells what another server on its folder had still to tell when it was killed, without a start', {
    timeout: 60_000,
  }, async () => {
    await using receiver = await startReceiver()
    receiver.answer(503)
    const endpoints = `    - {name: a, url: "${receiver.url}", backoff: 50ms}`
    const [dies, stays] = [await serve('shared', endpoints), await serve('shared', endpoints)]
    const tags = Array.from({ length: 10 }, (_, index) => `t${index}`)
    for (const tag of tags) expect((await put(dies.url, tag)).status).toBe(201)
    expect((await put(stays.url, 'own')).status).toBe(201)
    await until(() => receiver.posts.length > 4)
    await dies.end('SIGKILL')
    const before = receiver.posts.length
    receiver.answer(204)
    const told = () => eventsOf(receiver.posts.slice(before)).map(({ target }) => target.tag)
    await until(() => told().length >= tags.length + 1)
    // Nothing that was taken is told again.
    expect(told().sort()).toEqual(['own', ...tags])
    await until(() => readdirSync(join(folder, 'shared/notifications')).length === 1)
    await stays.end('SIGTERM')
  })

  it('takes other endpoints on SIGHUP, and leaves those as they are when the file is wrong', async () => {
    await using one = await startReceiver()
    await using two = await startReceiver()
    const server = await serve('reloaded', `    - {name: one, url: "${one.url}"}`)
    await put(server.url, '1')
    await until(() => one.posts.length === 1)
    server.reload(`    - {name: two, url: "ftp://x"}`)
    await until(() => /expected an address/.test(server.log()))
    await put(server.url, '2')
    await until(() => one.posts.length === 2)
    server.reload(`    - {name: two, url: "${two.url}"}`)
    await until(() => /read again/.test(server.log()))
    await put(server.url, '3')
    await until(() => two.posts.length === 1)
    expect(eventsOf(two.posts)[0].target.tag).toBe('3')
    expect(one.posts).toHaveLength(2)
    await server.end('SIGTERM')
  })
})

function blobTarget(repository: string) {
  const { digest, size } = descriptor
  return { mediaType: 'application/octet-stream', digest, size, length: size, repository }
}

function manifestTarget() {
  const size = manifest.length
  const digest = digestOf(manifest)
  return { mediaType: manifestType, digest, size, length: size, repository: 'app', tag: '1.0' }
}
