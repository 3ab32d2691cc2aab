import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  openLimits,
  parseQuota,
  parseRate,
  readLimits,
} from '../../../../src/cli/tsregistry/limits.ts'
import { RateExceeded, RateLimits } from '../../../../src/registry/server/limits/rate-limits.ts'
import { content, imageOf, pushBlob, pushManifest, startUpload } from '../contents.ts'
import { startRegistry } from '../registry-server.ts'

const rules = (more: Partial<Parameters<typeof readLimits>[0]>) =>
  readLimits({
    'rate-limit': [],
    quota: [],
    maintenance: false,
    'maintenance-message': 'Back at noon',
    'maintenance-retry-after': 90_000,
    ...more,
  })

const serve = (more: Parameters<typeof rules>[0]) => {
  const refused: string[] = []
  const started = startRegistry({
    limits: storage => ({
      ...openLimits(rules(more), { storage, metrics: undefined }),
      onRefused: (kind, rule) => void refused.push(`${kind} ${rule}`),
    }),
  })
  return started.then(registry => Object.assign(registry, { refused }))
}

const image = imageOf([])

describe('rules', () => {
  it('are read as they are written', () => {
    expect(parseRate('pull 200/6h per client')).toMatchObject({
      action: 'pull',
      count: 200,
      windowMs: 6 * 3600_000,
      per: 'client',
    })
    expect(parseRate('push 5/s per user in team/**')).toMatchObject({
      windowMs: 1000,
      pattern: 'team/**',
    })
    expect(parseQuota('50GB in team/**')).toMatchObject({ bytes: 50 * 1024 ** 3, isEach: false })
    expect(parseQuota('1k per repository in **')).toMatchObject({ bytes: 1024, isEach: true })
  })

  it.each([
    'pull',
    'pull 0/1m per client',
    'pull 5/x per client',
    'pull 5/1m per moon',
    'fetch 5/1m per client',
  ])('of rates: refuses %j', text =>
    expect(() => parseRate(text)).toThrow(/expected a rule such as/),
  )

  it.each(['50GB', '50XB in **', 'in **', '5GB each in **'])('of quotas: refuses %j', text =>
    expect(() => parseQuota(text)).toThrow(/expected a/),
  )
})

describe('RateLimits', () => {
  const at = (texts: readonly string[]) => {
    const clock = { now: 0 }
    return { clock, limits: new RateLimits(texts.map(parseRate), () => clock.now) }
  }
  const pull = { action: 'pull', repository: 'app' } as const

  it('lets through as many as the rule says, tells how many are left, and fills again', () => {
    const { clock, limits } = at(['pull 2/1m per client'])
    const asked = { ...pull, remote: '10.0.0.1' }
    expect(limits.admit(asked)).toEqual({
      'RateLimit-Limit': '2;w=60',
      'RateLimit-Remaining': '1;w=60',
    })
    limits.admit(asked)
    expect(() => limits.admit(asked)).toThrow(RateExceeded)
    expect(() => limits.admit(asked)).toThrow(/try again in 30 s/)
    expect(limits.admit({ ...asked, isFree: true })).toMatchObject({
      'RateLimit-Remaining': '0;w=60',
    })
    expect(limits.admit({ ...asked, remote: '10.0.0.2' })).toBeDefined()
    clock.now = 30_000
    limits.admit(asked)
    expect(() => limits.admit(asked)).toThrow(RateExceeded)
  })

  it('counts an IPv6 client by its network, an IPv4 one in either form, a user wherever they are', () => {
    const { limits } = at(['pull 1/1m per client', 'push 1/1m per user'])
    limits.admit({ ...pull, remote: '2001:db8::1' })
    expect(() => limits.admit({ ...pull, remote: '2001:db8:0:0:ffff::2' })).toThrow(RateExceeded)
    limits.admit({ ...pull, remote: '2001:db8:0:1::1' })
    limits.admit({ ...pull, remote: '10.0.0.1' })
    expect(() => limits.admit({ ...pull, remote: '::ffff:10.0.0.1' })).toThrow(RateExceeded)
    const push = { action: 'push', repository: 'app', user: 'alice' } as const
    limits.admit({ ...push, remote: '10.0.0.1' })
    expect(() => limits.admit({ ...push, remote: '10.0.0.9' })).toThrow(RateExceeded)
  })

  it('takes nothing of one rule for a request that another refuses', () => {
    const { limits } = at(['pull 2/1m per client', 'pull 1/1m per repository'])
    limits.admit({ ...pull, remote: 'a' })
    expect(() => limits.admit({ ...pull, remote: 'a' })).toThrow(RateExceeded)
    expect(limits.admit({ ...pull, repository: 'b', remote: 'a' })).toBeDefined()
  })

  it('is about the repositories of its pattern alone', () => {
    const { limits } = at(['pull 1/1m per client in team/**'])
    for (let index = 0; index < 3; index++) limits.admit({ ...pull, remote: 'a' })
    limits.admit({ ...pull, repository: 'team/x', remote: 'a' })
    expect(() => limits.admit({ ...pull, repository: 'team/y', remote: 'a' })).toThrow(RateExceeded)
  })
})

describe('a registry with rate limits', () => {
  it('answers 429 as clients know it, and counts manifests that are got', async () => {
    await using registry = await serve({ 'rate-limit': ['pull 2/1h per client'] })
    await pushManifest(registry, { repository: 'app', reference: '1' }, image)
    const get = (method = 'GET') => registry.send(method, '/v2/app/manifests/1')
    expect((await get('HEAD')).headers['ratelimit-remaining']).toBe('2;w=3600')
    expect((await get()).headers['ratelimit-remaining']).toBe('1;w=3600')
    await get()
    const refused = await get()
    expect(refused.status).toBe(429)
    expect(refused.json().errors[0]).toMatchObject({ code: 'TOOMANYREQUESTS' })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(1700)
    expect((await get('HEAD')).status).toBe(200)
    expect((await registry.send('GET', '/v2/app/tags/list')).status).toBe(200)
    expect(registry.refused).toEqual(['rate pull 2/1h per client'])
  })

  it('refuses whoever asks too often before it looks at their password, also for tokens', async () => {
    await using registry = await serve({ 'rate-limit': ['request 3/1h per client'] })
    for (let index = 0; index < 3; index++) {
      expect((await registry.send('GET', '/v2/')).status).toBe(200)
    }
    expect((await registry.send('GET', '/v2/')).status).toBe(429)
    expect((await registry.send('GET', '/token')).status).toBe(429)
    expect((await registry.send('GET', '/livez')).status).toBe(200)
  })
})

describe('a registry with quotas', () => {
  const blobOf = (size: number, fill: string) => content(Buffer.alloc(size, fill))

  it('refuses what is too much, whole or as it comes, with the rule and the use; nothing is left', async () => {
    await using registry = await serve({ quota: ['1000b per repository in **'] })
    expect((await pushBlob(registry, 'a', blobOf(600, 'a'))).status).toBe(201)
    const refused = await pushBlob(registry, 'a', blobOf(600, 'b'))
    expect(refused.status).toBe(403)
    expect(refused.json().errors[0]).toMatchObject({
      code: 'DENIED',
      detail: { quota: '1000b per repository in **', limit: 1000, used: 600 },
    })
    const big = blobOf(100_000, 'c')
    const upload = await startUpload(registry, 'a')
    const chunked = await registry.send('PATCH', upload, { body: big.bytes, chunked: true })
    expect(chunked.status).toBe(403)
    const stands = await registry.send('GET', upload)
    expect(stands.headers.range).toBe('0-0')
    expect((await pushBlob(registry, 'a', blobOf(400, 'd'))).status).toBe(201)
    expect((await registry.send('POST', '/v2/a/blobs/uploads/')).status).toBe(403)
    expect((await pushManifest(registry, { repository: 'a', reference: '1' }, image)).status).toBe(
      403,
    )
    // The others have theirs.
    expect((await pushBlob(registry, 'b', blobOf(900, 'e'))).status).toBe(201)
    expect(registry.refused.length).toBeGreaterThan(3)
  })

  it('takes what is there once more when it is exactly full, and nothing else', async () => {
    const [layer, other] = [blobOf(600, 'a'), blobOf(600, 'b')]
    const size = layer.bytes.length + image.bytes.length
    await using registry = await serve({ quota: [`${size}b in app`] })
    const tag = (reference: string, what = image) =>
      pushManifest(registry, { repository: 'app', reference }, what)
    expect((await pushBlob(registry, 'app', layer)).status).toBe(201)
    expect((await tag('1')).status).toBe(201)
    // A blob whole and mounted; a manifest by tag and by digest.
    expect((await pushBlob(registry, 'app', layer)).status).toBe(201)
    const mount = `/v2/app/blobs/uploads/?mount=${layer.digest}`
    expect((await registry.send('POST', mount)).status).toBe(201)
    expect((await tag('1')).status).toBe(201)
    expect((await tag('again')).status).toBe(201)
    expect((await tag(image.digest)).status).toBe(201)
    expect((await tag('2', imageOf([layer]))).status).toBe(403)
    expect((await pushBlob(registry, 'app', other)).status).toBe(403)
    // More than the blob that is named has.
    const query = `?digest=${layer.digest}`
    const body = Buffer.concat([layer.bytes, other.bytes])
    expect((await registry.send('POST', `/v2/app/blobs/uploads/${query}`, { body })).status).toBe(
      403,
    )
    const chunked = { body, chunked: true }
    expect((await registry.send('POST', `/v2/app/blobs/uploads/${query}`, chunked)).status).toBe(
      403,
    )
  })

  it('lets an upload in chunks fill it to the last byte, and end', async () => {
    await using registry = await serve({ quota: ['1000b in app'] })
    const blob = blobOf(1000, 'x')
    const upload = await startUpload(registry, 'app')
    const patched = await registry.send('PATCH', upload, { body: blob.bytes, chunked: true })
    expect(patched.status).toBe(202)
    const put = await registry.send('PUT', `${patched.headers.location}?digest=${blob.digest}`)
    expect(put.status).toBe(201)
    const second = await registry.send('POST', '/v2/app/blobs/uploads/')
    expect(second.status).toBe(403)
    // Also by a look anew, although there is no manifest and so no entry in the catalog.
    await sleep(1100)
    expect((await registry.send('POST', '/v2/app/blobs/uploads/')).status).toBe(403)
  })

  it('adds up the repositories of a namespace, mounts too, and what was there before it started', async () => {
    await using before = await startRegistry()
    await pushBlob(before, 'team/a', blobOf(600, 'a'))
    await pushManifest(before, { repository: 'team/a', reference: '1' }, image)
    await using registry = await startRegistry({
      objects: before.objects,
      limits: storage =>
        openLimits(rules({ quota: ['1200b in team/**'] }), { storage, metrics: undefined }),
    })
    const { digest } = blobOf(600, 'a')
    const mount = `/v2/team/b/blobs/uploads/?mount=${digest}&from=team/a`
    expect((await registry.send('POST', mount)).status).toBe(403)
    expect((await pushBlob(registry, 'team/b', blobOf(100, 'b'))).status).toBe(201)
    // Deleted, it is room again at once: nobody is refused by an old count.
    await sleep(1100)
    expect((await registry.send('DELETE', `/v2/team/a/blobs/${digest}`)).status).toBe(202)
    expect((await pushBlob(registry, 'team/b', blobOf(700, 'c'))).status).toBe(201)
  })

  it('holds with fifty uploads at once: never more than it says', async () => {
    await using registry = await serve({ quota: ['10000b in app'] })
    const blobs = Array.from({ length: 50 }, (_, index) => content(Buffer.alloc(900, `${index}.`)))
    const answers = await Promise.all(
      blobs.map(async (blob, index) => {
        if (index % 2 === 0) return pushBlob(registry, 'app', blob)
        const begun = await registry.send('POST', '/v2/app/blobs/uploads/')
        const { location } = begun.headers
        if (begun.status !== 202) return begun
        const to = `${location}?digest=${blob.digest}`
        return registry.send('PUT', to, { body: blob.bytes, chunked: true })
      }),
    )
    const stored = answers.filter(({ status }) => status === 201).length
    expect(stored).toBe(11)
    expect(answers.every(({ status }) => [201, 403].includes(status))).toBe(true)
  })
})

describe('a registry in maintenance', () => {
  it('answers 503 with the message to everything but the probes', async () => {
    await using registry = await serve({ maintenance: true })
    for (const path of ['/v2/', '/v2/app/manifests/1', '/token']) {
      const answer = await registry.send('GET', path)
      expect(answer.status).toBe(503)
      expect(answer.headers['retry-after']).toBe('90')
      expect(answer.json().errors).toEqual([{ code: 'UNAVAILABLE', message: 'Back at noon' }])
    }
    expect((await registry.send('GET', '/livez')).status).toBe(200)
    expect((await registry.send('GET', '/readyz')).status).toBe(200)
    expect(registry.failures).toEqual([])
  })
})
