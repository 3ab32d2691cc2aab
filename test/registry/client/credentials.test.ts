import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  createCredentialsProvider,
  credentialSources,
  dockerConfigPath,
} from '../../../src/registry/client/credential-lookup.ts'
import {
  removeCredentials,
  saveCredentials,
  verifyLogin,
} from '../../../src/registry/client/login.ts'
import { pushImage } from '../../../src/registry/client/push.ts'
import { hasDockerRegistry, startDockerRegistry } from './docker-registry.ts'
import { bytesOf, makeImage, referenceAt, testClient } from './images.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')
const password = (username: string, secret: string) => ({
  kind: 'password' as const,
  username,
  password: secret,
})

let home: string
let env: Record<string, string>
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'client-home-'))
  env = { HOME: home, PATH: `${home}/bin:/usr/bin:/bin` }
  await mkdir(join(home, 'bin'))
  await mkdir(join(home, '.docker'))
})
afterEach(() => rm(home, { recursive: true }))

function configure(config: unknown, path = '.docker/config.json') {
  const text = typeof config === 'string' ? config : JSON.stringify(config)
  return writeFile(join(home, path), text)
}

/** A helper that logs how it was called, and then does what the script says. */
async function installHelper(name: string, script: string) {
  const path = join(home, 'bin', `docker-credential-${name}`)
  await writeFile(path, `#!/bin/sh\ninput=$(cat)\necho "$1 $input" >> ${home}/calls\n${script}\n`)
  await chmod(path, 0o755)
}

const calls = async () => (await readFile(join(home, 'calls'), 'utf8')).trim().split('\n')

function find(registry: string, repository?: string) {
  return createCredentialsProvider(credentialSources(env))(registry, repository)
}

describe('createCredentialsProvider()', () => {
  test('finds nothing where nothing is', async () => {
    expect(await find('ghcr.io')).toBeUndefined()
  })

  test.each([
    ['ghcr.io', { 'ghcr.io': { auth: base64('u:p:w') } }, password('u', 'p:w')],
    ['ghcr.io', { 'https://ghcr.io': { auth: base64('u:p\0\0') } }, password('u', 'p')],
    ['ghcr.io', { 'https://ghcr.io/v2/': { username: 'u', password: 'p' } }, password('u', 'p')],
    ['docker.io', { 'https://index.docker.io/v1/': { auth: base64('u:p') } }, password('u', 'p')],
    ['docker.io', { 'docker.io': { auth: base64('u:p') } }, password('u', 'p')],
    ['a.io', { 'a.io': { registrytoken: 't' } }, { kind: 'registry-token', token: 't' }],
    [
      'a.io',
      { 'a.io': { auth: base64('u:'), identitytoken: 't' } },
      { kind: 'identity-token', token: 't', username: 'u' },
    ],
    ['a.io', { 'a.io': {} }, undefined],
    ['a.io', { 'a.io.evil.com': { auth: base64('u:p') } }, undefined],
    ['a.io', { 'evil-a.io': { auth: base64('u:p') } }, undefined],
    ['a.io:5000', { 'a.io': { auth: base64('u:p') } }, undefined],
    ['__proto__', { 'a.io': { auth: base64('u:p') } }, undefined],
  ])('for %s and %j', async (registry, auths, expected) => {
    await configure({ auths })
    expect(await find(registry, 'team/app')).toEqual(expected)
  })

  test('the longest key that is a whole part of the path wins', async () => {
    await configure({
      auths: {
        'a.io': { auth: base64('host:p') },
        'a.io/team': { auth: base64('team:p') },
        'a.io/team/app': { auth: base64('app:p') },
        'a.io/team/ap': { auth: base64('wrong:p') },
      },
    })
    const users = []
    for (const name of ['team/app', 'team/apple', 'teams/app']) users.push(await find('a.io', name))
    expect(users).toEqual([password('app', 'p'), password('team', 'p'), password('host', 'p')])
  })

  test('DOCKER_AUTH_CONFIG, then credHelpers, credsStore, auths, then auth.json', async () => {
    await installHelper('own', 'echo \'{"Username":"own","Secret":"s"}\'')
    await installHelper(
      'store',
      `case "$input" in stored.io) echo '{"Username":"<token>","Secret":"id"}';; *) echo "credentials not found in native keychain"; exit 1;; esac`,
    )
    const inline = { auths: { 'in.io': { auth: base64('in:p') } } }
    env = { ...env, DOCKER_AUTH_CONFIG: JSON.stringify(inline) }
    const auths = Object.fromEntries(
      ['in.io', 'own.io', 'stored.io', 'plain.io'].map(key => [key, { auth: base64('file:p') }]),
    )
    await configure({ auths, credHelpers: { 'own.io': 'own' }, credsStore: 'store' })
    await mkdir(join(home, '.config/containers'), { recursive: true })
    await configure(
      { auths: { 'plain.io': { auth: base64('no:p') }, 'pod.io': { auth: base64('pod:p') } } },
      '.config/containers/auth.json',
    )
    const found = []
    for (const registry of ['in.io', 'own.io', 'stored.io', 'plain.io', 'pod.io', 'no.io']) {
      found.push(await find(registry))
    }
    expect(found).toEqual([
      password('in', 'p'),
      password('own', 's'),
      { kind: 'identity-token', token: 'id' },
      password('file', 'p'),
      password('pod', 'p'),
      undefined,
    ])
    expect((await calls())[0]).toBe('get own.io')
  })

  test('a helper is asked once, and by the name docker files Docker Hub under', async () => {
    await installHelper('own', 'echo \'{"Username":"u","Secret":"s"}\'')
    await configure({ credsStore: 'own' })
    const provider = createCredentialsProvider(credentialSources(env))
    await Promise.all([provider('docker.io'), provider('docker.io', 'library/x')])
    expect(await calls()).toEqual(['get https://index.docker.io/v1/'])
  })

  test('a credsStore that is not installed is empty; a credHelper is an error', async () => {
    await configure({
      auths: { 'a.io': { auth: base64('u:p') } },
      credsStore: 'desktop',
      credHelpers: { 'b.io': 'gone' },
    })
    expect(await find('a.io')).toEqual(password('u', 'p'))
    await expect(find('b.io')).rejects.toThrow('Cannot run "docker-credential-gone": not installed')
  })

  test.each(['../../bin/sh', '/bin/sh', '-x', 'a b', '$(id)', 'a\0b', ''])(
    'a helper called %j is not run',
    async name => {
      await configure({ credHelpers: { 'a.io': name } })
      await expect(find('a.io')).rejects.toMatchObject({ code: 'invalid' })
    },
  )

  test.each([
    ['fails', 'echo "locked"; exit 1', /"docker-credential-own": locked$/],
    ['dies', 'kill -9 $$', /exit SIGKILL$/],
    [
      'babbles',
      'echo \'{"Username":"u","Secret":secret}\'',
      /^(?!.*secret).*expected \{"Username"/,
    ],
    ['floods', 'yes', /exceeds 65536 bytes$/],
  ])('a helper that %s is an error without its secret', async (_, script, message) => {
    await installHelper('own', script)
    await configure({ credHelpers: { 'a.io': 'own' } })
    await expect(find('a.io')).rejects.toThrow(message)
  })

  test.each([
    ['{"auths": {"a.io": {"auth": "secret"', 'not valid JSON'],
    [{ auths: { 'a.io': { auth: base64('secret') } } }, 'auth is not base64'],
    [{ auths: { 'a.io': { auth: 7 } } }, 'auth is no string'],
    [{ auths: ['secret'] }, 'auths: expected an object'],
    [{ auths: { 'a.io': 'secret' } }, 'auths.a.io: expected an object'],
    [{ credHelpers: { a: 5 } }, 'expected a string'],
    ['[]', 'expected an object'],
    ['"secret"', 'expected an object'],
  ])('the malformed file %j is named, its secrets are not', async (config, message) => {
    await configure(config)
    const error = await find('a.io').catch(reason => reason)
    expect(error).toMatchObject({ code: 'invalid', message: expect.stringContaining(message) })
    expect(error.message).toContain(dockerConfigPath(env))
    expect(`${error.message}${error.cause}`).not.toContain('secret')
  })

  test('REGISTRY_AUTH_FILE replaces the places of auth.json, DOCKER_CONFIG moves config.json', () => {
    const moved = {
      HOME: '/h',
      DOCKER_CONFIG: '/d',
      REGISTRY_AUTH_FILE: '/a',
      XDG_RUNTIME_DIR: '/r',
    }
    expect(credentialSources(moved).files).toEqual(['/d/config.json', '/a'])
    expect(credentialSources({ HOME: '/h', XDG_RUNTIME_DIR: '/r' }).files).toEqual([
      '/h/.docker/config.json',
      '/r/containers/auth.json',
      '/h/.config/containers/auth.json',
    ])
  })
})

describe('saveCredentials() and removeCredentials()', () => {
  const store = () => ({ path: dockerConfigPath(env), env })

  test('make the file and its directory private, and are read back', async () => {
    await rm(join(home, '.docker'), { recursive: true })
    await saveCredentials(store(), 'docker.io', password('u', 'p:w'))
    expect((await stat(store().path)).mode & 0o777).toBe(0o600)
    expect((await stat(join(home, '.docker'))).mode & 0o777).toBe(0o700)
    expect(await find('docker.io')).toEqual(password('u', 'p:w'))
    const token = { kind: 'identity-token', token: 'id', username: 'u' } as const
    await saveCredentials(store(), 'a.io', token)
    expect(await find('a.io')).toEqual(token)
    expect(await removeCredentials(store(), 'docker.io')).toBe(true)
    expect(await removeCredentials(store(), 'docker.io')).toBe(false)
    expect(await find('docker.io')).toBeUndefined()
    expect(await find('a.io')).toEqual(token)
  })

  test('keep what they do not know, the order, the indentation and a link', async () => {
    const text = `{
  "HttpHeaders": { "X": "y" },
  "auths": { "https://a.io/v1/": { "auth": "${base64('old:p')}" }, "b.io": {} },
  "psFormat": "table"
}`
    await writeFile(join(home, 'real.json'), text, { mode: 0o644 })
    await symlink('../real.json', store().path)
    await saveCredentials(store(), 'a.io', password('u', 'p'))
    const saved = await readFile(join(home, 'real.json'), 'utf8')
    expect(saved).toBe(
      `${JSON.stringify(
        {
          HttpHeaders: { X: 'y' },
          auths: { 'b.io': {}, 'a.io': { auth: base64('u:p') } },
          psFormat: 'table',
        },
        undefined,
        2,
      )}\n`,
    )
    expect((await stat(join(home, 'real.json'))).mode & 0o777).toBe(0o600)
  })

  test('hand the secret to the configured helper, leaving an empty entry', async () => {
    await installHelper('own', 'true')
    await configure({ credsStore: 'own' })
    await saveCredentials(store(), 'a.io', password('u', 'p'))
    await removeCredentials(store(), 'a.io')
    expect(await calls()).toEqual([
      'store {"ServerURL":"a.io","Username":"u","Secret":"p"}',
      'erase a.io',
    ])
    expect(JSON.parse(await readFile(store().path, 'utf8'))).toEqual({
      credsStore: 'own',
      auths: {},
    })
  })

  test('leave the file alone when it is malformed, or the helper fails', async () => {
    await configure('{"auths": ')
    await expect(saveCredentials(store(), 'a.io', password('u', 'p'))).rejects.toThrow('JSON')
    expect(await readFile(store().path, 'utf8')).toBe('{"auths": ')
    await installHelper('own', 'echo locked; exit 1')
    await configure({ credsStore: 'own' })
    await expect(saveCredentials(store(), 'a.io', password('u', 'p'))).rejects.toThrow('locked')
    expect(await readFile(store().path, 'utf8')).toBe('{"credsStore":"own"}')
  })

  test('refuse a user name that could not be read back', async () => {
    await expect(saveCredentials(store(), 'a.io', password('u:x', 'p'))).rejects.toMatchObject({
      code: 'invalid',
    })
  })
})

describe.skipIf(!hasDockerRegistry)('a login at docker-registry', () => {
  const htpasswd = 'me:$2b$04$abcdefghijklmnopqrstuuHR3t7FUNT1H99nlAQFD.ZD8cnc5Jsi2'

  test('is verified, saved, found and used', async () => {
    await using registry = await startDockerRegistry({ htpasswd })
    const me = password('me', 's3cret:word')
    const store = { path: dockerConfigPath(env), env }
    {
      await using client = testClient()
      await expect(
        verifyLogin(client, registry.host, password('me', 'wrong')),
      ).rejects.toMatchObject({ code: 'unauthenticated' })
      await verifyLogin(client, registry.host, me)
    }
    await saveCredentials(store, registry.host, me)
    const credentials = createCredentialsProvider(credentialSources(env))
    await using client = testClient({ credentials })
    const image = await makeImage([bytesOf(1000, 1)])
    const target = referenceAt(registry.host)
    await pushImage(client, target, { root: image.root, from: image.store })
    await using stranger = testClient()
    await expect(
      pushImage(stranger, target, { root: image.root, from: image.store }),
    ).rejects.toMatchObject({ code: 'unauthenticated' })
  })
})
