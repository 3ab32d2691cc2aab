/** What a running server takes anew: configuration, users, rules, keys and certificates, under load. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { hashSync } from 'bcryptjs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../../support/requires.ts'
import { basic, bearer } from './access/guarded.ts'

const program = join(import.meta.dirname, '../../../dist/cli/tsregistry.js')
const folder = mkdtempSync(join(tmpdir(), 'tsregistry-reload-'))
const file = (name: string) => join(folder, name)
let child: ChildProcess | undefined
afterAll(() => {
  child?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** The same each time: with another, even of the same password, tokens end. */
const lines = { alice: `alice:${hashSync('alice', 4)}\n`, bob: `bob:${hashSync('bob', 4)}\n` }
const users = (...names: readonly (keyof typeof lines)[]) =>
  writeFileSync(file('users'), names.map(name => lines[name]).join(''))

const policy = (rights: string) =>
  writeFileSync(
    file('policy.yaml'),
    `policies: [{repositories: ["**"], allow: [{to: [anyone], rights: ${rights}}, {to: [authenticated], rights: [all]}]}]\n`,
  )

const config = (more: string) =>
  writeFileSync(
    file('config.yml'),
    `version: 0.1
log: {accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${file('data')}}}
auth: {htpasswd: {path: ${file('users')}}}
tsregistry: {policy: ${file('policy.yaml')}, tokenkey: ${file('keys')}}
http:
  addr: 127.0.0.1:0
  tls: {certificate: ${file('tls.crt')}, key: ${file('tls.key')}}
  headers: {X-Site: [${more}]}
`,
  )

function certificate(name: string): void {
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const files = ['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)]
  const { status, stderr } = spawnSync('openssl', [...args, '-subj', `/CN=${name}`, ...files])
  if (status !== 0) throw new Error(String(stderr))
}

const useCertificate = (name: string) => {
  for (const end of ['crt', 'key']) copyFileSync(file(`${name}.${end}`), file(`tls.${end}`))
}

const addKey = (name: string) => {
  const { privateKey } = generateKeyPairSync('ed25519')
  mkdirSync(file('keys'), { recursive: true })
  writeFileSync(
    file(`keys/${name}.pem`),
    privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  )
}

interface Reply {
  readonly status: number
  readonly site: string | undefined
  readonly certificate: string
  readonly body: string
}

let url = ''

function get(path: string, headers: Record<string, string>, agent: Agent): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const req = request(`${url}${path}`, { agent, headers }, res => {
      const { subject } = (res.socket as TLSSocket).getPeerCertificate()
      let body = ''
      res.on('data', chunk => {
        body += chunk
      })
      res.once('error', reject).once('end', () =>
        resolve({
          status: res.statusCode ?? 0,
          site: res.headers['x-site']?.toString(),
          certificate: String(subject?.CN),
          body,
        }),
      )
    })
    req.once('error', reject).end()
  })
}

/** On a connection of its own. */
async function once(path: string, headers: Record<string, string> = {}): Promise<Reply> {
  const agent = new Agent({ rejectUnauthorized: false, maxCachedSessions: 0 })
  try {
    return await get(path, headers, agent)
  } finally {
    agent.destroy()
  }
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 15_000; !(await isSo()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error('It did not come to be')
  }
}

const tokenOf = async (user: string) => {
  const { body } = await once(
    '/token?service=tsregistry&scope=repository:app:pull',
    basic(user, user),
  )
  return JSON.parse(body).token as string
}
const keyOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid as string

describeWith(['build', 'openssl'], 'tsregistry serve, changed under load', () => {
  beforeAll(async () => {
    users('alice')
    policy('[]')
    addKey('key-1')
    config('one')
    certificate('one')
    certificate('two')
    useCertificate('one')
    const started = spawn(process.execPath, [program, 'serve', file('config.yml')])
    child = started
    let out = ''
    started.stdout.on('data', chunk => {
      out += chunk
    })
    await until(async () => /Listening on (\S+),/.test(out))
    url = /Listening on (\S+),/.exec(out)?.[1] ?? ''
  })

  it('takes configuration, users, rules, keys and certificates, and drops no request', async () => {
    const failures: string[] = []
    let isLoading = true
    const first = await tokenOf('alice')
    const load = async (headers: Record<string, string>) => {
      const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
      let count = 0
      while (isLoading) {
        const reply = await get('/v2/app/tags/list', headers, agent).catch(String)
        if (typeof reply === 'string' || reply.status !== 404) failures.push(JSON.stringify(reply))
        count++
      }
      agent.destroy()
      return count
    }
    const loading = [
      load(basic('alice', 'alice')),
      load(bearer(first)),
      load(basic('alice', 'alice')),
    ]

    config('two')
    child?.kill('SIGHUP')
    await until(async () => (await once('/v2/', basic('alice', 'alice'))).site === 'two')

    expect((await once('/v2/', basic('bob', 'bob'))).status).toBe(401)
    users('alice', 'bob')
    await until(async () => (await once('/v2/', basic('bob', 'bob'))).status === 200)

    expect((await once('/v2/app/tags/list')).status).toBe(401)
    policy('[pull]')
    await until(async () => (await once('/v2/app/tags/list')).status === 404)

    addKey('key-2')
    await until(async () => keyOf(await tokenOf('alice')) !== keyOf(first))
    expect((await once('/v2/app/tags/list', bearer(first))).status).toBe(404)

    useCertificate('two')
    await until(async () => (await once('/v2/')).certificate === 'two')

    // Half-written or wrong, all of them at once: what was understood last stays in force.
    writeFileSync(file('users'), 'alice:plain\n')
    writeFileSync(file('policy.yaml'), 'policies: [')
    writeFileSync(file('keys/key-3.pem'), '-----BEGIN PRIVATE KEY-----')
    writeFileSync(file('tls.key'), 'half')
    writeFileSync(file('config.yml'), 'version: ')
    child?.kill('SIGHUP')
    await sleep(1500)
    expect((await once('/v2/', basic('bob', 'bob'))).status).toBe(200)
    expect(await once('/v2/app/tags/list')).toMatchObject({
      status: 404,
      site: 'two',
      certificate: 'two',
    })

    isLoading = false
    const counts = await Promise.all(loading)
    expect(failures).toEqual([])
    expect(Math.min(...counts)).toBeGreaterThan(5)
  })
})
