import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { loadIntoEngine, parseEngineAddress } from '../../../src/builder/export/docker-engine.ts'
import { engineFrom } from '../../../src/cli/tsbuild/engine.ts'

describe('loadIntoEngine()', () => {
  let directory: string
  let server: Server | undefined
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-engine-'))
  })
  afterEach(() => {
    server?.close()
    server?.closeAllConnections()
    server = undefined
    rmSync(directory, { recursive: true })
  })

  const engine = async (handle: (request: IncomingMessage, reply: ServerResponse) => void) => {
    const path = join(directory, 'docker.sock')
    server = createServer(handle)
    await new Promise<void>(listening => server?.listen(path, listening))
    return `unix://${path}`
  }
  const archive = async function* () {
    for (let count = 0; count < 100; count++) yield Buffer.alloc(10_000, count)
  }
  const never = new AbortController().signal

  test('sends the archive as docker load does', async () => {
    const seen: unknown[] = []
    const address = await engine((request, reply) => {
      let size = 0
      request.on('data', chunk => (size += chunk.length))
      request.on('end', () => {
        seen.push(request.method, request.url, size)
        reply.end('{"stream":"Loaded image: a\\n"}\n')
      })
    })
    await loadIntoEngine({ address }, archive(), never)
    expect(seen).toEqual(['POST', '/images/load?quiet=1', 1_000_000])
  })

  test('a refusal is told in the engine’s words, whether by status or in the stream', async () => {
    const address = await engine((request, reply) => {
      request.resume().on('end', () => reply.end(JSON.stringify({ error: 'no space \u001b' })))
    })
    const refused = 'The Docker engine refused the image: no space'
    await expect(loadIntoEngine({ address }, archive(), never)).rejects.toThrow(refused)
    server?.removeAllListeners('request').on('request', (request, reply) => {
      request.resume().on('end', () => reply.writeHead(500).end('{"message":"no space"}'))
    })
    await expect(loadIntoEngine({ address }, archive(), never)).rejects.toThrow(refused)
  })

  test('an engine that answers with nothing but a status, or hangs up, is a failure', async () => {
    const address = await engine((request, reply) => {
      request.resume().on('end', () => reply.writeHead(404).end())
    })
    await expect(loadIntoEngine({ address }, archive(), never)).rejects.toThrow('status 404')
    server?.removeAllListeners('request').on('request', request => request.socket.destroy())
    await expect(loadIntoEngine({ address }, archive(), never)).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  test('a refusal before the image was sent is that refusal', async () => {
    const address = await engine((_, reply) => {
      reply.writeHead(403, { connection: 'close' }).end('{"message":"not here"}')
    })
    const endless = async function* () {
      for (;;) yield Buffer.alloc(100_000)
    }
    await expect(loadIntoEngine({ address }, endless(), never)).rejects.toThrow(
      'The Docker engine refused the image: not here',
    )
  })

  test('no engine is told with what to do; a failing archive and a stop end it', async () => {
    await expect(
      loadIntoEngine({ address: `unix://${directory}/none` }, archive(), never),
    ).rejects.toMatchObject({ code: 'unavailable', hint: 'start it, or set DOCKER_HOST' })
    const address = await engine(request => request.resume())
    const broken = async function* () {
      yield Buffer.alloc(10)
      throw new Error('blob is gone')
    }
    await expect(loadIntoEngine({ address }, broken(), never)).rejects.toThrow('blob is gone')
    await expect(loadIntoEngine({ address }, archive(), AbortSignal.timeout(50))).rejects.toThrow()
  })
})

describe('loadIntoEngine() over TLS', () => {
  let directory: string
  let server: Server
  let address: string
  const file = (name: string) => join(directory, name)
  const read = (name: string) => readFileSync(file(name))
  const archive = async function* () {
    yield Buffer.alloc(10_000)
  }
  const { signal } = new AbortController()
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-engine-'))
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const out = ['-keyout', file('key.pem'), '-out', file('cert.pem')]
    execFileSync('openssl', ['req', '-x509', '-days', '2', ...key, ...out, ...subject], {
      stdio: 'ignore',
    })
    const tls = { key: read('key.pem'), cert: read('cert.pem'), ca: read('cert.pem') }
    server = createTlsServer({ ...tls, requestCert: true }, (request, reply) => {
      request.resume().on('end', () => reply.end('{"stream":"Loaded"}'))
    })
    await new Promise<void>(listening => server.listen(0, '127.0.0.1', listening))
    address = `tcp://127.0.0.1:${(server.address() as { port: number }).port}`
  })
  afterAll(() => {
    server.close()
    server.closeAllConnections()
    rmSync(directory, { recursive: true })
  })

  test('both sides show their certificates', async () => {
    const certificates = { ca: read('cert.pem'), cert: read('cert.pem'), key: read('key.pem') }
    await loadIntoEngine({ address, tls: { ...certificates, verify: true } }, archive(), signal)
  })

  test('an engine that cannot be verified gets nothing, unless nobody asked for that', async () => {
    const certificates = { cert: read('cert.pem'), key: read('key.pem') }
    const asked = { address, tls: { ...certificates, verify: true } }
    await expect(loadIntoEngine(asked, archive(), signal)).rejects.toMatchObject({
      code: 'unavailable',
      hint: 'start it, or set DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH',
    })
    await loadIntoEngine({ address, tls: { ...certificates, verify: false } }, archive(), signal)
  })

  test('DOCKER_TLS_VERIFY and DOCKER_CERT_PATH are docker’s', () => {
    const from = (variables: Record<string, string>) =>
      engineFrom(name => ({ DOCKER_HOST: address, HOME: '/none', ...variables })[name])
    expect(from({})).toEqual({ address })
    expect(from({ DOCKER_TLS_VERIFY: '1' })).toEqual({ address, tls: { verify: true } })
    expect(from({ DOCKER_CERT_PATH: directory })).toEqual({
      address,
      tls: { verify: false, cert: read('cert.pem'), key: read('key.pem') },
    })
    const socket = { DOCKER_HOST: 'unix:///run/docker.sock', DOCKER_TLS_VERIFY: '1' }
    expect(from(socket)).toEqual({ address: socket.DOCKER_HOST })
  })
})

describe('parseEngineAddress()', () => {
  test('takes sockets and plain TCP', () => {
    expect(parseEngineAddress('unix:///var/run/docker.sock')).toEqual({
      socketPath: '/var/run/docker.sock',
    })
    expect(parseEngineAddress('tcp://127.0.0.1:2375')).toEqual({ host: '127.0.0.1', port: 2375 })
    expect(parseEngineAddress('tcp://[::1]:2375/')).toEqual({ host: '::1', port: 2375 })
  })

  test.each([
    ['ssh://host', 'Cannot reach a Docker engine at "ssh://host" yet'],
    ['unix://relative', 'expected unix:///PATH or tcp://HOST:PORT'],
    ['', 'expected unix:///PATH'],
  ])('refuses "%s"', (text, message) => {
    expect(() => parseEngineAddress(text)).toThrow(message)
  })
})
