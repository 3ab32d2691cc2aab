/** `tsregistry` as people start and stop it. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { serveRegistry } from './program.ts'

let compiled: Compiled
let root: string
beforeAll(async () => {
  compiled = compileSources()
  root = await mkdtemp(join(tmpdir(), 'tsregistry-program-'))
})
afterAll(async () => {
  compiled[Symbol.dispose]()
  await rm(root, { recursive: true, force: true })
})

const run = (...args: readonly string[]) =>
  spawnSync(process.execPath, [join(compiled.dist, 'cli/tsregistry.js'), ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  })

describe('tsregistry', () => {
  it('prints its help and its version', () => {
    expect(run('--help')).toMatchObject({ status: 0, stderr: '' })
    expect(run('serve', '--help').stdout).toMatch(/--addr HOST:PORT/)
    expect(run('--version')).toMatchObject({ status: 0 })
  })

  it('refuses an unknown flag, saying which was meant', () => {
    const { status, stderr } = run('serve', '--adr', 'x')
    expect(status).toBe(125)
    expect(stderr).toMatch(/--adr.*\n.*--addr/)
  })

  it.each(['x', '127.0.0.1', '127.0.0.1:99999', 'a b:5000', '::1:5000'])(
    'refuses --addr %j',
    addr => {
      const { status, stderr } = run('serve', '--addr', addr, '--root', join(root, 'addr'))
      expect(status).toBe(125)
      expect(stderr).toMatch(/expected HOST:PORT/)
    },
  )
})

describe('tsregistry serve', () => {
  it('logs one JSON line per request, without credentials', async () => {
    const registry = await serveRegistry(compiled.dist, join(root, 'log'))
    const headers = { authorization: 'Basic c2VjcmV0OnNlY3JldA==', 'user-agent': 'x\u001b' }
    await fetch(`http://127.0.0.1:${registry.port}/v2/a/tags/list?n=1`, {
      headers: { authorization: headers.authorization },
    })
    expect(await registry.stop('SIGTERM')).toBe(0)
    const lines = registry
      .log()
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(lines[0]).toMatchObject({
      level: 'info',
      msg: 'request',
      method: 'GET',
      target: '/v2/a/tags/list?n=1',
      status: 404,
    })
    expect(registry.log()).not.toMatch(/c2VjcmV0/)
  })

  it('says that the address is taken', async () => {
    const registry = await serveRegistry(compiled.dist, join(root, 'port'))
    const addr = `127.0.0.1:${registry.port}`
    const { status, stderr } = run('serve', '--addr', addr, '--root', join(root, 'other'))
    expect(status).toBe(1)
    expect(stderr).toMatch(/address is in use/)
    await registry.stop('SIGTERM')
  })

  it.each([
    ['has said nothing', ''],
    ['has said half a request', 'GET /v2/ HT'],
  ])('does not wait on SIGTERM for a client that %s', async (_, text) => {
    const registry = await serveRegistry(compiled.dist, root)
    const socket = connect(registry.port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(text)
    // A round trip later, the server has accepted it.
    await fetch(`http://127.0.0.1:${registry.port}/v2/`)
    const begun = performance.now()
    expect(await registry.stop('SIGTERM')).toBe(0)
    expect(performance.now() - begun).toBeLessThan(5000)
    socket.destroy()
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('lets a request under way finish on %s', async signal => {
    const registry = await serveRegistry(compiled.dist, join(root, signal))
    const post = await fetch(`http://127.0.0.1:${registry.port}/v2/a/blobs/uploads/`, {
      method: 'POST',
    })
    const socket = connect(registry.port, '127.0.0.1')
    let seen = ''
    socket.on('data', chunk => {
      seen += chunk
    })
    const path = post.headers.get('location')
    socket.write(`PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc`)
    await sleep(100)
    const stopped = registry.stop(signal)
    await sleep(100)
    socket.write('def')
    expect(await stopped).toBe(0)
    expect(seen).toMatch(/^HTTP\/1\.1 202 /)
  })

  it('cuts what is not done after --drain-timeout', async () => {
    const registry = await serveRegistry(compiled.dist, join(root, 'drain'), [
      '--drain-timeout',
      '200ms',
    ])
    const post = await fetch(`http://127.0.0.1:${registry.port}/v2/a/blobs/uploads/`, {
      method: 'POST',
    })
    const socket = connect(registry.port, '127.0.0.1')
    socket.on('error', () => {})
    const path = post.headers.get('location')
    socket.write(`PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc`)
    await sleep(100)
    const before = performance.now()
    expect(await registry.stop('SIGTERM')).toBe(0)
    expect(performance.now() - before).toBeLessThan(3000)
    socket.destroy()
  })
})
