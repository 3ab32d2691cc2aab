import { createHmac } from 'node:crypto'
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import type { Endpoint, Outcome } from '../../../src/registry/notifications/endpoint.ts'
import { signingKey } from '../../../src/registry/notifications/event-format.ts'
import {
  type Notifier,
  type NotifierOptions,
  startNotifier,
} from '../../../src/registry/notifications/notifier.ts'
import type { Happening } from '../../../src/registry/server/exchange.ts'
import { eventsOf, startReceiver } from './receiver.ts'

const folder = mkdtempSync(join(tmpdir(), 'tsregistry-notifier-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function endpoint(url: string, more: Partial<Endpoint> = {}): Endpoint {
  return {
    name: 'listener',
    url: new URL(url),
    headers: {},
    timeoutMs: 1000,
    threshold: 3,
    backoffMs: 20,
    ignoredActions: new Set(),
    ignoredMediaTypes: new Set(),
    format: 'distribution',
    batch: 100,
    ...more,
  }
}

interface Observed {
  readonly outcomes: [string, Outcome][]
  readonly lost: [string | undefined, number][]
}

async function notifier(
  name: string,
  endpoints: readonly Endpoint[],
  more: Partial<NotifierOptions> = {},
): Promise<Notifier & Observed> {
  const observed: Observed = { outcomes: [], lost: [] }
  const started = await startNotifier(
    {
      folder: join(folder, name),
      maxBytes: 1024 * 1024,
      userAgent: 'tsregistry/test',
      source: { addr: 'here:5000', instanceID: 'i' },
      observer: {
        attempted: (to, outcome) => void observed.outcomes.push([to, outcome]),
        queued: () => {},
        lost: (to, events) => void observed.lost.push([to, events]),
      },
      ...more,
    },
    { endpoints, includeReferences: false },
  )
  return { ...started, ...observed }
}

const push = (tag: string): Happening => ({
  action: 'push',
  kind: 'manifest',
  repository: 'app' as never,
  digest: `sha256:${'0'.repeat(64)}` as never,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  size: 71,
  tag: tag as never,
})

const context = {
  method: 'PUT',
  user: 'alice',
  client: {
    header: (name: string) => ({ host: 'registry.example', 'user-agent': 'docker/1' })[name],
    remote: '::1',
    port: 4242,
    isEncrypted: true,
  },
}

const tagsOf = (events: readonly { target: { tag: string } }[]) =>
  events.map(({ target }) => target.tag)

async function until(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !isSo(); await sleep(5)) {
    if (Date.now() > deadline) throw new Error('It did not come to be')
  }
}

describe('startNotifier()', () => {
  it('sends events in distribution’s envelope, with every field', async () => {
    await using receiver = await startReceiver()
    const headers = { Authorization: ['Bearer x'], 'X-Two': ['a', 'b'] }
    await using told = await notifier('fields', [endpoint(receiver.url, { headers })])
    await told.record([push('1')], context)
    await until(() => receiver.posts.length === 1)
    const [post] = receiver.posts
    expect(post?.headers).toMatchObject({
      'content-type': 'application/vnd.docker.distribution.events.v2+json',
      authorization: 'Bearer x',
      'x-two': 'a, b',
    })
    const digest = `sha256:${'0'.repeat(64)}`
    expect(eventsOf(receiver.posts)).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
        action: 'push',
        target: {
          mediaType: 'application/vnd.oci.image.index.v1+json',
          digest,
          size: 71,
          length: 71,
          repository: 'app',
          url: `https://registry.example/v2/app/manifests/${digest}`,
          tag: '1',
        },
        request: {
          id: expect.stringMatching(/^[0-9a-f-]{36}$/),
          addr: '[::1]:4242',
          host: 'registry.example',
          method: 'PUT',
          useragent: 'docker/1',
        },
        actor: { name: 'alice' },
        source: { addr: 'here:5000', instanceID: 'i' },
      },
    ])
  })

  it('sends CloudEvents in structured and in binary mode', async () => {
    await using structured = await startReceiver()
    await using binary = await startReceiver()
    await using told = await notifier('cloud', [
      endpoint(structured.url, { format: 'cloudevents', batch: 1 }),
      endpoint(binary.url, { name: 'b', format: 'cloudevents-binary', batch: 1 }),
    ])
    await told.record([push('ü 1')], context)
    await until(() => structured.posts.length + binary.posts.length === 2)
    const [one, other] = [structured.posts[0], binary.posts[0]]
    expect(one?.headers['content-type']).toBe('application/cloudevents+json; charset=UTF-8')
    const event = JSON.parse(one?.body ?? '')
    expect(event).toMatchObject({
      specversion: '1.0',
      source: '//here:5000',
      type: 'tsregistry.push',
      subject: 'app:ü 1',
      datacontenttype: 'application/json',
      data: { action: 'push', target: { tag: 'ü 1' } },
    })
    expect(event.id).toBe(event.data.id)
    expect(other?.headers).toMatchObject({
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-type': 'tsregistry.push',
      'ce-subject': 'app:%C3%BC%201',
      'ce-id': event.id,
    })
    expect(JSON.parse(other?.body ?? '')).toEqual(event.data)
  })

  it('signs posts as Standard Webhooks has it', async () => {
    await using receiver = await startReceiver()
    const text = `whsec_${Buffer.from('a key of sixteen').toString('base64')}\n`
    const key = signingKey(text)
    await using told = await notifier('signed', [endpoint(receiver.url, { signingKey: key })])
    await told.record([push('1')], context)
    await until(() => receiver.posts.length === 1)
    const { headers, body } = receiver.posts[0] ?? { headers: {}, body: '' }
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
    const mac = createHmac('sha256', 'a key of sixteen').update(signed).digest('base64')
    expect(headers['webhook-signature']).toBe(`v1,${mac}`)
  })

  it('keeps order and loses nothing while an endpoint fails, and does not hold up another', async () => {
    await using ill = await startReceiver()
    await using well = await startReceiver()
    ill.answer(500)
    await using told = await notifier('failing', [
      endpoint(ill.url, { batch: 7 }),
      endpoint(well.url, { name: 'well' }),
    ])
    const names = Array.from({ length: 50 }, (_, index) => `t${index}`)
    for (const name of names) await told.record([push(name)], context)
    await until(() => eventsOf(well.posts).length === 50)
    expect(tagsOf(eventsOf(well.posts))).toEqual(names)
    await until(() => ill.posts.length >= 4)
    expect(told.pending().get('listener')).toBe(50)
    const before = ill.posts.length
    ill.answer(200)
    await until(() => told.pending().get('listener') === 0)
    const taken = tagsOf(eventsOf(ill.posts.slice(before)))
    // What was refused and what was on its way may be there twice; the order is the same.
    expect([...new Set(taken)]).toEqual(names)
  })

  it('sends after a start what was left, also by others that are gone, and passes over a torn line', async () => {
    await using receiver = await startReceiver()
    const to = [endpoint('http://127.0.0.1:9/')]
    {
      await using first = await notifier('left', to)
      await using second = await notifier('left', to)
      await first.record([push('a')], context)
      await second.record([push('b')], context)
    }
    const left = join(folder, 'left')
    expect(readdirSync(left).sort()).toEqual(['1', '2'])
    appendFileSync(join(left, '1/000000000000001.jsonl'), '{"action":"push","tar')
    await using told = await notifier('left', [endpoint(receiver.url)])
    await told.record([push('c')], context)
    await until(() => eventsOf(receiver.posts).length === 3)
    expect(tagsOf(eventsOf(receiver.posts)).sort()).toEqual(['a', 'b', 'c'])
    await until(() => readdirSync(left).length === 1)
  })

  it('bounds what waits: the oldest events go, and it says how many', async () => {
    await using receiver = await startReceiver()
    receiver.answer(503)
    const maxBytes = 64 * 1024
    await using told = await notifier('bounded', [endpoint(receiver.url, { batch: 1 })], {
      maxBytes,
    })
    const names = Array.from({ length: 400 }, (_, index) => `t${index}`)
    await Promise.all(names.map(name => told.record([push(name)], context)))
    const files = readdirSync(join(folder, 'bounded/1')).filter(name => name.endsWith('.jsonl'))
    const size = files.reduce(
      (sum, name) => sum + statSync(join(folder, 'bounded/1', name)).size,
      0,
    )
    expect(size).toBeLessThan(2 * maxBytes)
    const before = receiver.posts.length
    receiver.answer(200)
    await until(() => told.pending().get('listener') === 0)
    const taken = tagsOf(eventsOf(receiver.posts.slice(before)))
    expect(taken.at(-1)).toBe('t399')
    const missed = told.lost.reduce((sum, [, events]) => sum + events, 0)
    expect(missed).toBeGreaterThan(0)
    expect(new Set([...taken, ...tagsOf(eventsOf(receiver.posts.slice(0, before)))]).size).toBe(
      400 - missed,
    )
  })

  it('does not follow redirects, and tells an endpoint nothing that it ignores', async () => {
    await using elsewhere = await startReceiver()
    await using receiver = await startReceiver()
    receiver.answer(307, { location: elsewhere.url })
    const headers = { Authorization: ['Bearer secret'] }
    await using told = await notifier('redirected', [
      endpoint(receiver.url, { headers, ignoredActions: new Set(['delete']) }),
    ])
    const gone: Happening = { action: 'delete', kind: 'manifest', repository: 'app' as never }
    await told.record([gone], context)
    await told.record([push('1')], context)
    await until(() => told.outcomes.length > 2)
    expect(elsewhere.posts).toEqual([])
    expect(told.outcomes[0]?.[1]).toMatchObject({ kind: 'failed', status: 307 })
    receiver.answer(200)
    await until(() => told.pending().get('listener') === 0)
    expect(eventsOf(receiver.posts).every(({ action }) => action === 'push')).toBe(true)
  })

  it('waits as long as the endpoint asks, and gives up on one that does not answer', async () => {
    await using receiver = await startReceiver()
    receiver.answer(429, { 'retry-after': '60' })
    await using told = await notifier('slow', [endpoint(receiver.url)])
    await told.record([push('1')], context)
    await until(() => told.outcomes.length === 1)
    expect(told.outcomes[0]?.[1]).toMatchObject({ retryAfterMs: 60_000 })
    receiver.answer(undefined)
    await told.use({
      endpoints: [endpoint(receiver.url, { timeoutMs: 50 })],
      includeReferences: false,
    })
    await until(() => told.outcomes.length > 1)
    expect(told.outcomes[1]?.[1]).toMatchObject({ kind: 'failed', reason: 'no answer in time' })
  })
})
