/** Real clients log in, pull and push as far as the rules let them, and are told why no further. */
import { copyFileSync, mkdirSync } from 'node:fs'
import { hashSync } from 'bcryptjs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuthority } from '../registry/server/access/certificates.ts'
import { describeWith, missing } from '../support/requires.ts'
import { cosignCertificates, openClients } from './access-clients.ts'
import { openWorkspace, type Registry, type Store } from './workspace.ts'

const policy = `
admins: ["user:root"]
policies:
  - repositories: ["public/**"]
    allow: [{ to: [anyone], rights: [pull] }]
  - repositories: ["team/**"]
    allow: [{ to: ["user:bob", "group:machines"], rights: [pull, push] }]
  - repositories: ["certified/**"]
    allow: [{ to: ["user:cert:builder.example"], rights: [pull, push] }]
`

const work = openWorkspace('registry-access')
const clients = openClients(work)
let store: Store
/** Tokens, and some may do something without a login. */
let mixed: Registry
/** Basic, and nobody may. */
let closed: Registry
/** Certificates of clients, and passwords for who has none. */
let encrypted: Registry | undefined
let robot: string

beforeAll(async () => {
  const user = (name: string) => `${name}:${hashSync(`${name}-password`, 8)}\n`
  const files = work.write('access', { users: user('root') + user('bob'), 'policy.yaml': policy })
  const users = ['--htpasswd', `${files}/users`]
  const rules = ['--policy', `${files}/policy.yaml`]
  store = await work.storeWithBusybox('store')
  mixed = await work.serve([...users, '--token-key', work.path('keys'), ...rules])
  closed = await work.serve(users)
  const made = ['robot', 'create', 'ci', '--group', 'machines', '--root', work.path('registry-0')]
  robot = (await store.attempt('tsregistry', made)).stdout.trim()
  const other = work.write('other', { Dockerfile: 'FROM busybox\nLABEL other=yes\n' })
  for (const { address } of [mixed, closed]) {
    const stdin = 'root-password'
    await store.tsbuild(['login', '-u', 'root', '--password-stdin', address], { stdin })
    await store.tsbuild(['push', 'busybox', `docker://${address}/public/app:1`])
    await store.tsbuild(['-t', `${address}/public/app:2`, '--push', other])
  }
  if (missing(['openssl']) === undefined) encrypted = await serveEncrypted([...users, ...rules])
})
afterAll(async () => {
  await clients.stop()
  await work.close()
})

const certificatesOf = (who: string) => work.path(`certificates-${who}`)

/** Over TLS, with the images of the first; `certificatesOf` has folders for two clients. */
async function serveEncrypted(flags: readonly string[]): Promise<Registry> {
  mkdirSync(work.path('tls'))
  const authority = createAuthority(work.path('tls'))
  authority.issue('server', '/CN=server', 'subjectAltName=IP:127.0.0.1,IP:0.0.0.0')
  for (const name of ['builder', 'other']) {
    authority.issue(name, '/CN=x', `subjectAltName=DNS:${name}.example`)
    mkdirSync(certificatesOf(name))
    for (const [from, to] of [
      ['ca.crt', 'ca.crt'],
      [`${name}.crt`, 'client.cert'],
      [`${name}.key`, 'client.key'],
    ] as const) {
      copyFileSync(`${work.path('tls')}/${from}`, `${certificatesOf(name)}/${to}`)
    }
  }
  const [ca, cert, key] = ['ca.crt', 'server.crt', 'server.key'].map(name =>
    work.path(`tls/${name}`),
  )
  const tls = ['--tls-cert', `${cert}`, '--tls-key', `${key}`, '--client-ca', `${ca}`]
  const optional = ['--client-auth', 'verify-client-cert-if-given']
  const place = (of: number) => `filesystem:${work.path(`registry-${of}`)}`
  const copy = ['copy', '--from', place(0), '--to', place(2)]
  expect(await store.attempt('tsregistry', copy)).toEqual(done)
  return await work.serve([...flags, ...tls, ...optional])
}

const done = expect.objectContaining({ code: 0 })
const refused = (words: RegExp) =>
  expect.objectContaining({
    code: expect.toSatisfy(code => code !== 0),
    stderr: expect.stringMatching(words),
  })
const loginWanted =
  /unauthorized|authentication required|login needed|no basic auth|basic credential not found/i

for (const { name, needs, login, logout, copy, copyCertified } of clients.all) {
  describeWith(['root', 'build', 'busybox', ...needs], name, () => {
    test('pulls without login where anyone may, and pushes nowhere', async () => {
      const { address } = mixed
      const answer = await copy(`${address}/public/app:1`, `${address}/team/${name}:1`)
      expect(answer).toEqual(refused(loginWanted))
      expect(answer.stderr).toMatch(/team/)
      const hidden = await copy(`${address}/team/${name}:1`, `${address}/public/app:3`)
      expect(hidden).toEqual(refused(/unauthorized|authentication required|login needed|denied/i))
    })

    test('logs in with the right password, and pushes as far as the rules let it', async () => {
      const { address } = mixed
      expect(await login(address, 'bob', 'wrong')).toEqual(
        refused(/incorrect username or password|unauthorized|invalid username\/password/i),
      )
      expect(await login(address, 'bob', 'bob-password')).toEqual(done)
      const own = `${address}/team/${name}:1`
      expect(await copy(`${address}/public/app:1`, own)).toEqual(done)
      expect(await copy(own, `${address}/team/${name}-copy:1`)).toEqual(done)
      expect(await copy(own, `${address}/public/app:3`)).toEqual(refused(/denied|403/i))
      expect(await copy(`${address}/public/app:2`, own)).toEqual(refused(/overwrite|denied|403/i))
    })

    test('pushes with a robot’s key', async () => {
      const { address } = mixed
      await logout(address)
      expect(await login(address, 'robot+ci', robot)).toEqual(done)
      const to = `${address}/team/${name}-robot:1`
      expect(await copy(`${address}/public/app:1`, to)).toEqual(done)
    })

    test('uses Basic where nobody may do anything without login', async () => {
      const { address } = closed
      const [from, to] = [`${address}/public/app:1`, `${address}/any/${name}:1`]
      expect(await copy(from, to)).toEqual(refused(loginWanted))
      expect(await login(address, 'bob', 'bob-password')).toEqual(done)
      expect(await copy(from, to)).toEqual(done)
    })

    test.skipIf(copyCertified === undefined || missing(['openssl']) !== undefined)(
      'is let in by its certificate, as far as the rules let it',
      async () => {
        const address = encrypted?.address
        const image = `${address}/public/app:1`
        const own = `${address}/certified/${name}`
        const as = (who: string, from: string, to: string) =>
          copyCertified?.(from, to, certificatesOf(who))
        expect(await as('builder', image, `${own}:1`)).toEqual(done)
        expect(await as('builder', `${own}:1`, `${own}-copy:1`)).toEqual(done)
        expect(await as('builder', image, `${address}/team/${name}:1`)).toEqual(
          refused(/denied|403/i),
        )
        expect(await as('other', `${own}:1`, `${own}-copy:1`)).toEqual(refused(/denied|403/i))
      },
    )
  })
}

describeWith(['root', 'build', 'busybox', 'cosign', 'openssl'], 'cosign signs', () => {
  const offline = ['--tlog-upload=false', '--use-signing-config=false']
  const key = (kind: string) => work.path(`cosign.${kind}`)
  beforeAll(async () => {
    const made = ['generate-key-pair', '--output-key-prefix', work.path('cosign')]
    expect(await clients.call('cosign', made)).toEqual(done)
  })

  const plain = ['--allow-http-registry']
  const sign = (image: string, flags: readonly string[] = plain) =>
    clients.call('cosign', ['sign', '-y', '--key', key('key'), ...offline, ...flags, image])
  const verify = (image: string, flags: readonly string[] = plain) => {
    const known = ['--key', key('pub'), '--insecure-ignore-tlog=true']
    return clients.call('cosign', ['verify', ...known, ...flags, image])
  }
  const login = (address: string, user: string, password: string) =>
    clients.call('cosign', ['login', address, '-u', user, '--password-stdin'], password)

  test.each([
    ['a token', () => mixed, 'public/app:1'],
    ['a password', () => closed, 'public/app:1'],
  ] as const)('with %s, and who may only pull verifies', async (_, registry, image) => {
    const { address } = registry()
    const name = `${address}/${image}`
    await login(address, 'bob', 'wrong')
    expect(await sign(name)).toEqual(refused(/unauthorized|401/i))
    await login(address, 'root', 'root-password')
    expect(await sign(name)).toEqual(done)
    await login(address, 'bob', 'bob-password')
    expect(await verify(name)).toEqual(done)
  })

  test('not where it may only pull', async () => {
    await login(mixed.address, 'bob', 'bob-password')
    expect(await sign(`${mixed.address}/public/app:2`)).toEqual(refused(/denied|403/i))
  })

  test('with a robot’s key', async () => {
    const image = `${mixed.address}/team/signed:1`
    await store.tsbuild(['push', 'busybox', `docker://${image}`])
    await login(mixed.address, 'robot+ci', robot)
    expect(await sign(image)).toEqual(done)
    expect(await verify(image)).toEqual(done)
  })

  test('with a certificate', async () => {
    const image = `${encrypted?.address}/certified/signed:1`
    const [own, other] = ['builder', 'other'].map(who => cosignCertificates(certificatesOf(who)))
    const from = `${encrypted?.address}/public/app:1`
    expect(await clients.call('cosign', ['copy', ...(own ?? []), from, image])).toEqual(done)
    expect(await sign(image, other)).toEqual(refused(/denied|403/i))
    expect(await sign(image, own)).toEqual(done)
    expect(await verify(image, own)).toEqual(done)
  })
})

describe('our own client', () => {
  test('logs in and out, too', async () => {
    const { address } = mixed
    const stdin = 'bob-password'
    const other = work.store('other-store')
    const env = { HOME: work.write('home-ours', { note: 'nobody has logged in' }) }
    const image = `${address}/public/app:1`
    await other.tsbuild(['pull', '-q', image], { env })
    const push = ['push', image, `docker://${address}/team/ours:1`]
    const before = await other.attempt('tsbuild', push, { env })
    expect(before).toEqual(refused(/login needed|unauthorized/i))
    await other.tsbuild(['login', '-u', 'bob', '--password-stdin', address], { stdin, env })
    expect((await other.attempt('tsbuild', push, { env })).code).toBe(0)
  })
})
