/** `tsregistry serve` as operators run it: configuration, TLS, reload, metrics, audit, drain. */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../../support/requires.ts'

const program = join(import.meta.dirname, '../../../dist/cli/tsregistry.js')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsregistry-operation-'))
  makeCertificate('one')
  makeCertificate('two')
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

function makeCertificate(name: string): void {
  const of = `-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${name}`
  const alternative = 'subjectAltName=IP:127.0.0.1'
  const files = ['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)]
  const { status, stderr } = spawnSync(
    'openssl',
    ['req', ...of.split(' '), '-addext', alternative, ...files],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(stderr)
}

interface Operated extends AsyncDisposable {
  readonly url: string
  readonly debug: string
  readonly config: string
  log(): string
  hangup(): void
  stop(): Promise<number | null>
}

async function serve(name: string, config: string): Promise<Operated> {
  const place = join(folder, name)
  await mkdir(place, { recursive: true })
  const file = join(place, 'config.yml')
  await writeFile(file, config)
  const child = spawn(process.execPath, [program, 'serve', file])
  let log = ''
  let out = ''
  child.stderr.on('data', chunk => {
    log += chunk
  })
  child.stdout.on('data', chunk => {
    out += chunk
  })
  const exited = new Promise<number | null>(resolve => child.once('exit', resolve))
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  const found = (pattern: RegExp) => pattern.exec(out)?.[1]
  await eventually(() => {
    if (child.exitCode !== null) throw new Error(log)
    return found(/metrics on (\S+)\n/) !== undefined
  })
  const stop = async () => {
    child.kill('SIGTERM')
    const code = await exited
    process.removeListener('exit', killWithUs)
    return code
  }
  return {
    url: found(/Listening on (\S+),/) ?? '',
    debug: found(/metrics on (\S+)\n/) ?? '',
    config: file,
    log: () => log,
    hangup: () => void child.kill('SIGHUP'),
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error('It did not come to be')
    await sleep(20)
  }
}

const basics = (name: string, more = '') => `version: 0.1
log: {accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: ${join(folder, name, 'data')}}
${more}
`
const listening = '  addr: 127.0.0.1:0\n  debug: {addr: "127.0.0.1:0", prometheus: {enabled: true}}'

const manifest =
  '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
const type = { 'content-type': 'application/vnd.oci.image.index.v1+json' }
const put = (url: string, tag: string) =>
  fetch(`${url}/v2/app/manifests/${tag}`, { method: 'PUT', headers: type, body: manifest })

describeWith(['build', 'openssl'], 'tsregistry serve config.yml', () => {
  it('has metrics that promtool accepts, and probes, on a listener of their own', async () => {
    await using server = await serve('metrics', basics('metrics', `http:\n${listening}`))
    await put(server.url, '1')
    const text = await (await fetch(`${server.debug}/metrics`)).text()
    expect(text).toMatch(
      /registry_http_requests_total\{code="201",handler="manifest",method="put"\} 1/,
    )
    expect(text).toMatch(
      /registry_storage_action_seconds_count\{driver="filesystem",action="PutContent"\}/,
    )
    expect(text).toContain('tsregistry_storage_info{driver="filesystem",mode="single-writer"} 1')
    const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
    if (checked.error === undefined) expect(checked).toMatchObject({ status: 0, stderr: '' })
    for (const page of ['livez', 'readyz']) {
      expect((await fetch(`${server.debug}/${page}`)).status).toBe(200)
      expect((await fetch(`${server.url}/${page}`)).status).toBe(200)
    }
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404)
    expect((await fetch(`${server.debug}/v2/`)).status).toBe(404)
  })

  it('goes read-only, and back, on SIGHUP; a file that cannot be used changes nothing', async () => {
    const own = basics('modes', `  delete: {enabled: true}\nhttp:\n${listening}`)
    const readOnly = own.replace(
      'delete: {',
      'maintenance: {readonly: {enabled: true}}\n  delete: {',
    )
    await using server = await serve('modes', own)
    expect((await put(server.url, '1')).status).toBe(201)
    await writeFile(server.config, readOnly)
    server.hangup()
    await eventually(async () => (await put(server.url, '2')).status === 405)
    const deleting = await fetch(`${server.url}/v2/app/manifests/1`, { method: 'DELETE' })
    expect(deleting.status).toBe(405)
    expect((await fetch(`${server.url}/v2/app/manifests/1`)).status).toBe(200)
    await writeFile(server.config, `${own}nonsense: true\n`)
    server.hangup()
    await eventually(() => /config\.yml:[0-9]+: nonsense: unknown key/.test(server.log()))
    expect((await put(server.url, '2')).status).toBe(405)
    await writeFile(server.config, own.replace('addr: 127.0.0.1:0', 'addr: 127.0.0.1:1'))
    server.hangup()
    await eventually(async () => (await put(server.url, '2')).status === 201)
    expect(server.log()).toMatch(/"keys":\["http\.addr"\].*taken at the next start/)
    const gone = await fetch(`${server.url}/v2/app/manifests/1`, { method: 'DELETE' })
    expect(gone.status).toBe(202)
    await writeFile(
      server.config,
      `${own}tsregistry: {maintenance: {enabled: true, message: Back at noon}, quotas: [1b in **]}\n`,
    )
    server.hangup()
    await eventually(async () => (await put(server.url, '3')).status === 503)
    expect(await (await fetch(`${server.url}/v2/`)).text()).toContain('Back at noon')
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
    await writeFile(server.config, own)
    server.hangup()
    await eventually(async () => (await put(server.url, '3')).status === 201)
  })

  it('goes on when its certificate is renewed as it starts', async () => {
    const { place, use } = await replaceable('early')
    const tls = `  tls: {certificate: ${place}/tls.crt, key: ${place}/tls.key}`
    // It listens some moments before it looks after the files.
    for (let i = 0; i < 6; i++) {
      await use('one')
      const name = `early-${i}`
      await using server = await serve(name, basics(name, `http:\n${listening}\n${tls}`))
      await use('two')
      await eventually(async () => (await nameShown(server.url)) === 'two')
    }
  })

  it('shows a renewed certificate to new connections, under load, dropping no request', async () => {
    const { place, use } = await replaceable('tls')
    await use('one')
    const tls = `  tls: {certificate: ${place}/tls.crt, key: ${place}/tls.key, minimumtls: tls1.3}`
    await using server = await serve('tls', basics('tls', `http:\n${listening}\n${tls}`))
    expect(server.url).toMatch(/^https:/)
    let failures = 0
    let isLoading = true
    const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
    const load = async () => {
      while (isLoading) await get(server.url, agent).catch(() => failures++)
    }
    const loading = [load(), load(), load()]
    expect(await nameShown(server.url)).toBe('one')
    await use('two')
    await eventually(async () => (await nameShown(server.url)) === 'two')
    server.hangup()
    await eventually(() => /read again/.test(server.log()))
    isLoading = false
    await Promise.all(loading)
    agent.destroy()
    expect(failures).toBe(0)
  })

  it('lets in who has a certificate of the authority alone', async () => {
    const [crt, key] = [join(folder, 'one.crt'), join(folder, 'one.key')]
    const tls = `  tls: {certificate: ${crt}, key: ${key}, clientcas: [${join(folder, 'two.crt')}]}`
    await using server = await serve('mutual', basics('mutual', `http:\n${listening}\n${tls}`))
    const without = new Agent({ rejectUnauthorized: false })
    await expect(get(server.url, without)).rejects.toThrow()
    const identity = async (name: string) => ({
      cert: await readFile(join(folder, `${name}.crt`)),
      key: await readFile(join(folder, `${name}.key`)),
    })
    const right = new Agent({ rejectUnauthorized: false, ...(await identity('two')) })
    expect((await get(server.url, right)).status).toBe(200)
    const wrong = new Agent({ rejectUnauthorized: false, ...(await identity('one')) })
    await expect(get(server.url, wrong)).rejects.toThrow()
  })

  it('writes one line of audit for each change and none for steps and reads', async () => {
    const file = join(folder, 'audit.log')
    const more = `http:\n${listening}\ntsregistry: {auditlog: ${file}}`
    await using server = await serve('audit', basics('audit', more))
    await upload(server.url, 'a layer')
    await put(server.url, '1')
    await fetch(`${server.url}/v2/app/manifests/1`)
    await fetch(`${server.url}/v2/app/manifests/1`, { method: 'DELETE' })
    await eventually(async () => (await readFile(file, 'utf8')).split('\n').length === 4)
    const lines = (await readFile(file, 'utf8')).trim().split('\n')
    expect(lines.map(line => JSON.parse(line))).toMatchObject([
      { action: 'push blob', repository: 'app', reference: digestOf('a layer'), result: 'done' },
      { action: 'push manifest', reference: '1', user: null, remote: '127.0.0.1', status: 201 },
      { action: 'delete manifest', reference: '1', result: 'refused', status: 405 },
    ])
  })

  it('drains: of 50 uploads under way when it is stopped none is lost', async () => {
    const config = basics('drain', `http:\n${listening}`)
    const first = await serve('drain', config)
    const texts = Array.from({ length: 50 }, (_, index) => `layer ${index} `.repeat(1000))
    const locations = await Promise.all(texts.map(() => beginUpload(first.url)))
    const uploads = texts.map((text, index) =>
      finishUpload(first.url + locations[index], text, () => sleep(1000)),
    )
    const underWay = /registry_http_in_flight_requests\{handler="blob_upload_chunk"\} 50\n/
    await eventually(async () =>
      underWay.test(await (await fetch(`${first.debug}/metrics`)).text()),
    )
    const stopped = first.stop()
    const statuses = await Promise.all(uploads)
    expect(new Set(statuses)).toEqual(new Set([201]))
    expect(await stopped).toBe(0)
    await using second = await serve('drain', config)
    for (const text of texts) {
      const blob = await fetch(`${second.url}/v2/app/blobs/${digestOf(text)}`)
      expect(await blob.text()).toBe(text)
    }
  })
})

function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

async function beginUpload(url: string): Promise<string> {
  const begun = await fetch(`${url}/v2/app/blobs/uploads/`, { method: 'POST' })
  return begun.headers.get('location') ?? ''
}

/** Sends half of the text, waits, and sends the rest. */
async function finishUpload(url: string, text: string, wait: () => Promise<unknown>) {
  async function* halves() {
    yield Buffer.from(text.slice(0, text.length / 2))
    await wait()
    yield Buffer.from(text.slice(text.length / 2))
  }
  const answer = await fetch(`${url}?digest=${digestOf(text)}`, {
    method: 'PUT',
    body: halves(),
    duplex: 'half',
  } as RequestInit)
  return answer.status
}

async function upload(url: string, text: string): Promise<number> {
  return await finishUpload(url + (await beginUpload(url)), text, async () => {})
}

function get(url: string, agent: Agent): Promise<{ status: number; name: string }> {
  return new Promise((resolve, reject) => {
    const req = request(`${url}/v2/`, { agent }, res => {
      const { subject } = (res.socket as TLSSocket).getPeerCertificate()
      res
        .resume()
        .once('end', () => resolve({ status: res.statusCode ?? 0, name: String(subject?.CN) }))
    })
    req.once('error', reject).end()
  })
}

/** A folder whose certificate and key are written anew, one after the other, by `use`. */
async function replaceable(name: string) {
  const place = join(folder, name)
  await mkdir(place)
  const use = async (pair: string) => {
    for (const end of ['key', 'crt']) {
      await copyFile(join(folder, `${pair}.${end}`), join(place, `tls.${end}`))
    }
  }
  return { place, use }
}

async function nameShown(url: string): Promise<string> {
  const agent = new Agent({ rejectUnauthorized: false, maxCachedSessions: 0 })
  return (await get(url, agent)).name
}
