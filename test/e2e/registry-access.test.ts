/** Real clients log in, pull and push as far as the rules let them, and are told why no further. */
import { existsSync, readFileSync } from 'node:fs'
import { hashSync } from 'bcryptjs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuthority } from '../registry/server/access/certificates.ts'
import { describeWith, missing, type Need } from '../support/requires.ts'
import { type DockerDaemon, startDocker } from './docker-daemon.ts'
import { attempt, type Finished } from './process.ts'
import { openWorkspace, type Registry, type Store } from './workspace.ts'

const policy = `
admins: ["user:root"]
policies:
  - repositories: ["public/**"]
    allow: [{ to: [anyone], rights: [pull] }]
  - repositories: ["team/**"]
    allow: [{ to: ["user:bob", "group:machines"], rights: [pull, push] }]
`

const work = openWorkspace('registry-access')
let store: Store
let mixed: Registry
let closed: Registry
let daemon: DockerDaemon | undefined
let robot: string

beforeAll(async () => {
  const user = (name: string) => `${name}:${hashSync(`${name}-password`, 8)}\n`
  const files = work.write('access', { users: user('root') + user('bob'), 'policy.yaml': policy })
  const users = ['--htpasswd', `${files}/users`]
  const keys = ['--token-key', work.path('keys')]
  store = await work.storeWithBusybox('store')
  mixed = await work.serve([...users, ...keys, '--policy', `${files}/policy.yaml`])
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
})
afterAll(async () => {
  await daemon?.stop()
  await work.close()
})

interface Client {
  readonly name: string
  readonly needs: readonly Need[]
  login(address: string, user: string, password: string): Promise<Finished>
  /** From one name to another, both of the registry. */
  copy(from: string, to: string): Promise<Finished>
  logout(address: string): Promise<Finished>
}

/** Credentials of one client are not another's. */
function homeOf(name: string) {
  const home = work.path(`home-${name}`)
  if (!existsSync(home)) work.write(`home-${name}`, { 'auth.json': '{}' })
  return { ...work.env, HOME: home, DOCKER_CONFIG: home, REGISTRY_AUTH_FILE: `${home}/auth.json` }
}

const call = (program: string, args: readonly string[], stdin?: string) =>
  attempt(program, args, {
    env: homeOf(program),
    ...(stdin === undefined ? {} : { stdin }),
  })

const podman = async (...args: string[]) => {
  const settings = work.write('podman-settings', {
    'containers.conf': '[containers]\ndefault_ulimits = []\n',
  })
  const state = [
    ...['--root', work.path('podman'), '--runroot', work.path('podman-run')],
    ...['--tmpdir', work.path('podman-tmp'), '--storage-driver', 'vfs'],
    ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
  ]
  const env = { ...homeOf('podman'), CONTAINERS_CONF: `${settings}/containers.conf` }
  return attempt('podman', [...state, ...args], { env })
}

const docker = async (...args: string[]): Promise<Finished> => {
  daemon ??= await startDocker(work)
  const config = ['--config', work.path('home-docker')]
  return daemon.docker([...config, ...args]).catch(error => ({
    code: 1,
    stdout: '',
    stderr: String(error),
  }))
}

/** The first that fails, or the last. */
async function inTurn(...steps: (() => Promise<Finished>)[]): Promise<Finished> {
  let last: Finished = { code: 0, stdout: '', stderr: '' }
  for (const step of steps) {
    last = await step()
    if (last.code !== 0) return last
  }
  return last
}

const insecure = '--tls-verify=false'
const clients: readonly Client[] = [
  {
    name: 'docker',
    needs: ['docker'],
    login: (address, user, password) => docker('login', '-u', user, '-p', password, address),
    copy: (from, to) =>
      inTurn(
        () => docker('pull', '-q', from),
        () => docker('tag', from, to),
        () => docker('push', '-q', to),
      ),
    logout: address => docker('logout', address),
  },
  {
    name: 'podman',
    needs: ['podman'],
    login: (address, user, password) =>
      podman('login', insecure, '-u', user, '-p', password, address),
    copy: (from, to) =>
      inTurn(
        () => podman('pull', '-q', insecure, from),
        () => podman('push', '-q', insecure, from, `docker://${to}`),
      ),
    logout: address => podman('logout', address),
  },
  {
    name: 'skopeo',
    needs: ['skopeo'],
    login: (address, user, password) =>
      call('skopeo', ['login', insecure, '-u', user, '--password-stdin', address], password),
    copy: (from, to) =>
      call('skopeo', [
        ...['copy', '--src-tls-verify=false', '--dest-tls-verify=false'],
        ...[`docker://${from}`, `docker://${to}`],
      ]),
    logout: address => call('skopeo', ['logout', address]),
  },
  {
    name: 'crane',
    needs: ['crane'],
    // It stores what it is given, and does not ask whether it is right.
    login: (address, user, password) =>
      inTurn(
        () => call('crane', ['auth', 'login', address, '-u', user, '-p', password]),
        () => call('crane', ['catalog', '--insecure', address]),
      ),
    copy: (from, to) => call('crane', ['copy', '--insecure', from, to]),
    logout: address => call('crane', ['auth', 'logout', address]),
  },
  {
    name: 'regctl',
    needs: ['regctl'],
    login: (address, user, password) =>
      inTurn(
        () => call('regctl', ['registry', 'set', '--skip-check', '--tls', 'disabled', address]),
        () => call('regctl', ['registry', 'login', '-u', user, '-p', password, address]),
      ),
    copy: (from, to) => call('regctl', ['image', 'copy', from, to]),
    logout: address => call('regctl', ['registry', 'logout', address]),
  },
  {
    name: 'oras',
    needs: ['oras'],
    login: (address, user, password) =>
      call('oras', ['login', '--plain-http', '-u', user, '--password-stdin', address], password),
    copy: (from, to) => call('oras', ['cp', '--from-plain-http', '--to-plain-http', from, to]),
    logout: address => call('oras', ['logout', address]),
  },
]

const read = (path: string) => readFileSync(path, 'utf8')

const done = expect.objectContaining({ code: 0 })
const refused = (words: RegExp) =>
  expect.objectContaining({
    code: expect.toSatisfy(code => code !== 0),
    stderr: expect.stringMatching(words),
  })

for (const { name, needs, login, copy, logout } of clients) {
  describeWith(['root', 'build', 'busybox', ...needs], name, () => {
    test('pulls without login where anyone may, and pushes nowhere', async () => {
      const { address } = mixed
      await call('regctl', ['registry', 'set', '--skip-check', '--tls', 'disabled', address]).catch(
        () => {},
      )
      const answer = await copy(`${address}/public/app:1`, `${address}/team/${name}:1`)
      expect(answer).toEqual(refused(/unauthorized|authentication required|login needed/i))
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
      await call('regctl', ['registry', 'set', '--skip-check', '--tls', 'disabled', address]).catch(
        () => {},
      )
      const [from, to] = [`${address}/public/app:1`, `${address}/any/${name}:1`]
      expect(await copy(from, to)).toEqual(refused(/unauthorized|no basic auth|authentication/i))
      expect(await login(address, 'bob', 'bob-password')).toEqual(done)
      expect(await copy(from, to)).toEqual(done)
    })
  })
}

describeWith(['root', 'build', 'busybox', 'openssl', 'skopeo'], 'a client certificate', () => {
  test('is a login: skopeo pushes with one, as far as the rules let it', async () => {
    const folder = work.write('tls', {
      'policy.yaml': `
policies:
  - repositories: ["certified/**"]
    allow: [{ to: ["user:cert:builder.example"], rights: [pull, push] }]
`,
    })
    const authority = createAuthority(folder)
    authority.issue('server', '/CN=server', 'subjectAltName=IP:127.0.0.1')
    for (const name of ['builder', 'other']) {
      authority.issue(name, '/CN=x', `subjectAltName=DNS:${name}.example`)
      const files = Object.fromEntries(
        ['crt', 'key'].map(kind => [`client.${kind === 'crt' ? 'cert' : kind}`, `${name}.${kind}`]),
      )
      const copies = Object.entries(files).map(([to, from]) => [to, read(`${folder}/${from}`)])
      work.write(
        `certs-${name}`,
        Object.fromEntries([...copies, ['ca.crt', read(`${folder}/ca.crt`)]]),
      )
    }
    const { address } = await work.serve([
      ...['--tls-cert', `${folder}/server.crt`, '--tls-key', `${folder}/server.key`],
      ...['--client-ca', `${folder}/ca.crt`, '--policy', `${folder}/policy.yaml`],
    ])
    const push = (who: string, to: string) =>
      call('skopeo', [
        ...['copy', '--src-tls-verify=false', `--dest-cert-dir=${work.path(`certs-${who}`)}`],
        ...[`docker://${mixed.address}/public/app:1`, `docker://${address}/${to}`],
      ])
    expect(await push('builder', 'certified/app:1')).toEqual(done)
    expect(await push('builder', 'elsewhere/app:1')).toEqual(refused(/denied|403/))
    expect(await push('other', 'certified/app:1')).toEqual(refused(/denied|403/))
    if (missing(['oras']) !== undefined) return
    const files = (who: string) => work.path(`certs-${who}`)
    const copy = (who: string, to: string) =>
      call('oras', [
        ...['cp', '--from-plain-http', `${mixed.address}/public/app:1`, `${address}/${to}`],
        ...['--to-ca-file', `${files(who)}/ca.crt`, '--to-cert-file', `${files(who)}/client.cert`],
        ...['--to-key-file', `${files(who)}/client.key`],
      ])
    expect(await copy('builder', 'certified/oras:1')).toEqual(done)
    expect(await copy('other', 'certified/oras:1')).toEqual(refused(/denied|403/))
  })
})

describeWith(['root', 'build', 'busybox', 'cosign', 'skopeo'], 'cosign', () => {
  const cosign = (...args: readonly string[]) =>
    attempt('cosign', args, { env: { ...homeOf('cosign'), COSIGN_PASSWORD: '' } })
  const offline = ['--allow-http-registry', '--tlog-upload=false', '--use-signing-config=false']

  test('signs where the rules let it, and whoever may pull verifies', async () => {
    const { address } = mixed
    const login = (user: string, password: string) =>
      attempt('cosign', ['login', address, '-u', user, '--password-stdin'], {
        env: homeOf('cosign'),
        stdin: password,
      })
    const place = work.write('cosign', { note: 'keys are made here' })
    expect(await cosign('generate-key-pair', '--output-key-prefix', `${place}/key`)).toEqual(done)
    const image = `${address}/public/app:1`
    const sign = () => cosign('sign', '-y', '--key', `${place}/key.key`, ...offline, image)
    expect(await sign()).toEqual(refused(/unauthorized|denied|401/i))
    expect(await login('bob', 'bob-password')).toEqual(done)
    expect(await sign()).toEqual(refused(/denied|403/i))
    expect(await login('root', 'root-password')).toEqual(done)
    expect(await sign()).toEqual(done)
    const verified = await cosign(
      ...['verify', '--key', `${place}/key.pub`, '--insecure-ignore-tlog=true'],
      ...['--allow-http-registry', image],
    )
    expect(verified).toEqual(done)
  })
})

describe('our own client', () => {
  test('logs in and out, too', async () => {
    const { address } = mixed
    const stdin = 'bob-password'
    const other = work.store('other-store')
    const env = homeOf('tsbuild')
    const image = `${address}/public/app:1`
    await other.tsbuild(['pull', '-q', image], { env })
    const push = ['push', image, `docker://${address}/team/ours:1`]
    const before = await other.attempt('tsbuild', push, { env })
    expect(before).toEqual(refused(/login needed|unauthorized/i))
    await other.tsbuild(['login', '-u', 'bob', '--password-stdin', address], { stdin, env })
    expect((await other.attempt('tsbuild', push, { env })).code).toBe(0)
  })
})
