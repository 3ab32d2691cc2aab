import { describe, expect, test } from 'vitest'
import { endpointOf, isLoopback } from '../../../src/registry/client/endpoint.ts'
import { proxyFor, proxySettings } from '../../../src/registry/client/proxy.ts'

describe('endpointOf()', () => {
  test.each([
    ['docker.io', 'https://registry-1.docker.io/'],
    ['ghcr.io', 'https://ghcr.io/'],
    ['registry.example:5443', 'https://registry.example:5443/'],
    ['localhost:5000', 'http://localhost:5000/'],
    ['127.1.2.3:5000', 'http://127.1.2.3:5000/'],
    ['[::1]:5000', 'http://[::1]:5000/'],
    ['kind.localhost:5000', 'http://kind.localhost:5000/'],
    ['10.0.0.1:5000', 'https://10.0.0.1:5000/'],
  ])('dials %s at %s', (registry, url) => {
    expect(endpointOf(registry).href).toBe(url)
  })

  test('follows the options before its own judgement', () => {
    expect(endpointOf('10.0.0.1:5000', { plainHttp: ['10.0.0.1:5000'] }).protocol).toBe('http:')
    expect(endpointOf('10.0.0.1:5001', { plainHttp: ['10.0.0.1:5000'] }).protocol).toBe('https:')
    expect(endpointOf('localhost:5000', { https: 'all' }).protocol).toBe('https:')
  })

  test.each(['a/b', 'user@host', 'host?x', 'host#x', 'a b', ''])('refuses %j', registry => {
    expect(() => endpointOf(registry)).toThrow(/^Cannot dial registry/)
  })
})

describe('isLoopback()', () => {
  test.each(['127.0.0.1.example.com', 'localhost.example.com', 'notlocalhost', '[::2]:5000'])(
    'does not take %s for this machine',
    host => {
      expect(isLoopback(host)).toBe(false)
    },
  )
})

describe('proxyFor()', () => {
  const proxies = { http: 'http://proxy:1', https: 'proxy:2' }

  test.each([
    ['http://a.example/', 'http://proxy:1/'],
    ['https://a.example/', 'http://proxy:2/'],
  ])('sends %s through %s', (url, proxy) => {
    expect(proxyFor(new URL(url), proxies)?.href).toBe(proxy)
  })

  test('falls back to ALL_PROXY, and to none', () => {
    expect(proxyFor(new URL('https://a/'), { all: 'http://all:3' })?.href).toBe('http://all:3/')
    expect(proxyFor(new URL('https://a/'), { http: 'http://x' })).toBeUndefined()
  })

  test.each([
    ['https://localhost:5000/', ''],
    ['http://127.0.0.1/', ''],
    ['https://a.example/', '*'],
    ['https://a.example/', 'b.example, A.Example'],
    ['https://sub.a.example/', 'a.example'],
    ['https://sub.a.example/', '.a.example'],
    ['https://sub.a.example/', '*.a.example'],
    ['https://a.example:5000/', 'a.example:5000'],
    ['https://a.example/', 'a.example:443'],
    ['https://10.1.2.3/', '10.0.0.0/8'],
    ['https://[fd00::1]/', 'fd00::/8'],
    ['https://[fd00::1]/', 'fd00::1'],
  ])('dials %s directly with NO_PROXY=%j', (url, no) => {
    expect(proxyFor(new URL(url), { ...proxies, no })).toBeUndefined()
  })

  test.each([
    ['https://nota.example/', 'a.example'],
    ['https://a.example:5001/', 'a.example:5000'],
    ['https://11.1.2.3/', '10.0.0.0/8'],
    ['https://a.example/', '10.0.0.0/99,10.0.0.0/x,/,a/8'],
  ])('does not exempt %s with NO_PROXY=%j', (url, no) => {
    expect(proxyFor(new URL(url), { ...proxies, no })).toBeDefined()
  })

  test('refuses a proxy that is no URL, without quoting its password', () => {
    const bad = () => proxyFor(new URL('http://a/'), { http: 'socks5://user:secret@proxy' })
    expect(bad).toThrow(/^Cannot use the proxy(?!.*secret)/)
  })
})

describe('proxySettings()', () => {
  test('prefers lower-case names and leaves out what is empty', () => {
    const env = {
      HTTP_PROXY: 'http://upper',
      http_proxy: 'http://lower',
      NO_PROXY: 'a',
      ALL_PROXY: '',
    }
    expect(proxySettings(env)).toEqual({ http: 'http://lower', no: 'a' })
  })
})
