/** Proxies before the registry: what is believed of whom, by the limits, the log and the challenge. */
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { networksFrom } from '../../../src/cli/tsregistry/networks.ts'
import { type Client, openAccess } from '../../../src/registry/server/access/access.ts'
import type { RequestLogEntry } from '../../../src/registry/server/application.ts'
import { usageReader } from '../../../src/registry/server/limits/quota-usage.ts'
import { Quotas } from '../../../src/registry/server/limits/quotas.ts'
import { RateLimits } from '../../../src/registry/server/limits/rate-limits.ts'
import { type Listener, listen } from '../../../src/registry/server/listen.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'

interface Started {
  readonly port: number
  readonly seen: {
    clients: Client[]
    entries: RequestLogEntry[]
    redirected: (string | undefined)[]
  }
  close(): Promise<void>
}

/** The clients of these tests come from 127.0.0.1 alone: a proxy, or not. */
async function start(proxies: readonly string[], requests = 1000): Promise<Started> {
  const seen: Started['seen'] = { clients: [], entries: [], redirected: [] }
  const storage = createRegistryStorage(new MemoryObjectStore())
  const rule = { action: 'request', count: requests, windowMs: 60_000, per: 'client' } as const
  const listener: Listener = await listen({
    host: '127.0.0.1',
    port: 0,
    storage,
    access: {
      ...openAccess,
      admit: async (client, wanted) => {
        seen.clients.push(client)
        return openAccess.admit(client, wanted)
      },
    },
    limits: {
      rates: new RateLimits([{ ...rule, text: `request ${requests}/1m per client` }]),
      quotas: new Quotas(usageReader(storage), []),
      maintenance: () => undefined,
    },
    isProxy: networksFrom('trusted-proxy', proxies),
    redirects: remote => {
      seen.redirected.push(remote)
      return false
    },
    onError: () => {},
    onRequest: entry => seen.entries.push(entry),
  })
  return { port: listener.port, seen, close: () => listener.close(0) }
}

function get(port: number, headers: Record<string, string | string[]>): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: '/v2/', headers, agent: false }
    request(options, res => {
      res.resume().once('close', () => resolve(res.statusCode ?? 0))
    })
      .on('error', reject)
      .end()
  })
}

describe('a registry behind proxies of 127.0.0.0/8 and 10.0.0.0/8', () => {
  let registry: Started
  beforeAll(async () => {
    registry = await start(['127.0.0.0/8', '10.0.0.0/8', 'fd00::/8'])
  })
  afterAll(() => registry.close())

  const remoteFor = async (chain: string | string[]) => {
    await get(registry.port, { 'x-forwarded-for': chain })
    const remote = registry.seen.clients.at(-1)?.remote
    expect(registry.seen.entries.at(-1)?.remote).toBe(remote)
    expect(registry.seen.redirected.at(-1)).toBe(remote)
    return remote
  }

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.2, 10.1.1.1, 127.0.0.9', '192.0.2.2'],
    ['2001:db8::1, fd00::2', '2001:db8::1'],
    ['192.0.2.3:4711', '192.0.2.3'],
    ['[2001:db8::3]:4711', '2001:db8::3'],
    ['::ffff:10.2.2.2', '::ffff:10.2.2.2'],
  ])('takes of %s that the client is %s', async (chain, client) => {
    expect(await remoteFor(chain)).toBe(client)
  })

  it('does not believe what the client wrote before its proxy did', async () => {
    expect(await remoteFor('10.9.9.9, 192.0.2.4')).toBe('192.0.2.4')
    expect(await remoteFor('127.0.0.1, 203.0.113.1, 192.0.2.5, 10.0.0.1')).toBe('192.0.2.5')
    expect(await remoteFor(['203.0.113.2', '192.0.2.6'])).toBe('192.0.2.6')
  })

  it.each(['unknown', '_hidden', '192.0.2.300', 'fe80::1%eth0', '<script>', '', ',,,'])(
    'takes the proxy for the client where it says "%s"',
    async chain => {
      expect(await remoteFor(chain)).toMatch(/^127\.0\.0\.1$/)
      expect(await remoteFor(`${chain}, 10.3.3.3`)).toBe('10.3.3.3')
    },
  )

  it('believes whether the client came by TLS, and no other word', async () => {
    const encrypted = async (scheme: string) => {
      await get(registry.port, {
        'x-forwarded-for': `198.51.100.${++address}`,
        'x-forwarded-proto': scheme,
      })
      return registry.seen.clients.at(-1)?.isEncrypted
    }
    let address = 0
    expect(await encrypted('https')).toBe(true)
    expect(await encrypted('http, HTTPS')).toBe(true)
    expect(await encrypted('https, http')).toBe(false)
    expect(await encrypted('gopher')).toBe(false)
  })

  it('limits each client for itself, whatever it writes', async () => {
    const limited = await start(['127.0.0.1'], 2)
    const statuses = (chains: readonly string[]) =>
      Promise.all(chains.map(chain => get(limited.port, { 'x-forwarded-for': chain })))
    expect(await statuses(['a, 192.0.2.9', '1.1.1.1, 192.0.2.9'])).toEqual([200, 200])
    expect(await statuses(['2.2.2.2, 192.0.2.9', '192.0.2.10'])).toEqual([429, 200])
    await limited.close()
  })
})

describe('a registry without proxies', () => {
  it('believes nobody: limits, log and scheme go by the connection', async () => {
    const registry = await start([], 2)
    const spoof = (to: string) =>
      get(registry.port, {
        'x-forwarded-for': to,
        'x-forwarded-proto': 'https',
        forwarded: `for=${to};proto=https`,
        'x-real-ip': to,
      })
    expect([await spoof('192.0.2.1'), await spoof('192.0.2.2'), await spoof('192.0.2.3')]).toEqual([
      200, 200, 429,
    ])
    expect(new Set(registry.seen.entries.map(({ remote }) => remote))).toEqual(
      new Set(['127.0.0.1']),
    )
    expect(registry.seen.clients.map(({ isEncrypted }) => isEncrypted)).toEqual([false, false])
    await registry.close()
  })

  it('believes none that is outside of the networks given', async () => {
    const registry = await start(['10.0.0.0/8', '127.0.0.2', '::1'])
    await get(registry.port, { 'x-forwarded-for': '192.0.2.1' })
    expect(registry.seen.entries.at(-1)?.remote).toBe('127.0.0.1')
    await registry.close()
  })
})

describe('--trusted-proxy', () => {
  it.each(['all', '10.0.0.0/33', '10.0.0/8', 'proxy.example', '10.0.0.0/8/8', ''])(
    'refuses "%s"',
    network => {
      expect(() => networksFrom('trusted-proxy', [network])).toThrow(
        /flag --trusted-proxy: expected a network such as 10\.0\.0\.0\/8/,
      )
    },
  )
})
