/** `config.yml` and `REGISTRY_*`: what is taken, what is refused, and that the manual says the same. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readEnvironment } from '../../../src/cli/environment.ts'
import { parseDuration } from '../../../src/cli/flags/flag-values.ts'
import { type Flag, parseFlags } from '../../../src/cli/flags/flags.ts'
import { configure } from '../../../src/cli/tsregistry/config/apply-config.ts'
import { isList, type Key } from '../../../src/cli/tsregistry/config/key.ts'
import { keys } from '../../../src/cli/tsregistry/config/keys.ts'
import { readConfig } from '../../../src/cli/tsregistry/config/read-config.ts'
import { variableOf } from '../../../src/cli/tsregistry/config/read-variables.ts'
import { configSchema } from '../../../src/cli/tsregistry/config/schema.ts'
import { serveFlags } from '../../../src/cli/tsregistry/serve-flags.ts'

const folder = mkdtempSync(join(tmpdir(), 'tsregistry-config-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const checkout = join(import.meta.dirname, '../../..')

async function configured(
  text: string | undefined,
  variables: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
) {
  const file = join(folder, 'config.yml')
  if (text !== undefined) writeFileSync(file, text)
  const environment = readEnvironment(variables, 1000)
  const words = text === undefined ? args : ['--config', file, ...args]
  const { values, given } = parseFlags({ flags: serveFlags }, words, environment.lookup)
  return configure({ flags: values, given, environment })
}

function problems(text: string): readonly string[] {
  try {
    readConfig('c.yml', text)
    return []
  } catch (error) {
    return (error as Error).message.split('\n').slice(1)
  }
}

/** As the documentation of distribution has it for a start. */
const documented = `version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
  tag:
    concurrencylimit: 8
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
auth:
  htpasswd:
    realm: basic-realm
    path: /etc/registry
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
`

describe('config.yml', () => {
  it("takes distribution's example as it is", async () => {
    const { flags, place, headers, logFields, withoutEffect } = await configured(documented)
    expect(flags).toMatchObject({ addr: ':5000', realm: 'basic-realm', htpasswd: '/etc/registry' })
    expect(place).toEqual({ kind: 'filesystem', root: '/var/lib/registry' })
    expect(headers).toEqual({ 'X-Content-Type-Options': ['nosniff'] })
    expect(logFields).toEqual({ service: ['registry'] })
    expect(withoutEffect.map(line => line.split(': ')[1])).toEqual([
      'storage.cache',
      'storage.tag',
      'health.storagedriver',
    ])
  })

  it('names every mistake with its line, and what was probably meant', () => {
    const text = `version: 0.1
storage:
  filesystm: {rootdirectory: /x}
  azure: {accountname: x}
http:
  adr: :5000
  prefix: /below/
  draintimeout: soon
  tls: {minimumtls: tls1.0}
proxy: {remoteurl: "https://registry.example", tll: 1h}
tsregistry: {upstreams: {docker.io: {ulr: docker.io}}}
`
    expect(problems(text)).toEqual([
      'c.yml:3: storage.filesystm: unknown key; did you mean storage.filesystem?',
      'c.yml:4: storage.azure: not supported: use storage.filesystem or storage.s3',
      'c.yml:6: http.adr: unknown key; did you mean http.addr?',
      'c.yml:7: http.prefix: not supported: let the proxy in front cut it off',
      'c.yml:8: http.draintimeout: expected a duration such as 90s or 1h30m, got "soon"',
      'c.yml:9: http.tls.minimumtls: expected one of tls1.2, tls1.3, got "tls1.0"',
      'c.yml:10: proxy.tll: unknown key; did you mean proxy.ttl?',
      'c.yml:11: tsregistry.upstreams.*.ulr: unknown key; did you mean tsregistry.upstreams.*.url?',
    ])
  })

  it.each([
    ['a: [', /c\.yml:1: /],
    ['version: 0.1\nhttp: 5\n', /c\.yml:2: http: expected keys with values/],
    ['version: 0.2\n', /version: expected one of 0\.1, got "0\.2"/],
    ['http: {addr: ":5000"}\n', /version: missing/],
    ['version: 0.1\nversion: 0.1\n', /c\.yml:2: .*unique/i],
    ['', /version: missing/],
  ])('refuses %j', (text, message) => {
    expect(problems(text).join('\n')).toMatch(message)
  })

  it('means what distribution means by what it leaves out: no deleting, no metrics', async () => {
    expect((await configured('version: 0.1\n')).flags).toMatchObject({
      delete: false,
      metrics: false,
    })
    expect((await configured(undefined)).flags).toMatchObject({ delete: true, metrics: true })
    const text = 'version: 0.1\nstorage: {delete: {enabled: true}}\n'
    expect((await configured(text)).flags.delete).toBe(true)
  })

  it('stores in a bucket as --storage would', async () => {
    const text = `version: 0.1
storage:
  redirect: {disable: false}
  s3: {bucket: images, region: eu-1, regionendpoint: "minio:9000", secure: false, rootdirectory: /a/b, chunksize: 10485760, accesskey: k, secretkey: s}
`
    const { place, flags } = await configured(text)
    expect(place).toMatchObject({
      kind: 's3',
      options: {
        bucket: 'images',
        prefix: 'a/b',
        region: 'eu-1',
        pathStyle: true,
        partSize: 10485760,
      },
    })
    expect(place.kind === 's3' && place.options.endpoint?.href).toBe('http://minio:9000/')
    expect(place.kind === 's3' && place.options.credentials?.accessKeyId).toBe('k')
    expect(flags.redirect).toEqual(['all'])
  })

  it('refuses two storages, unless REGISTRY_STORAGE says which', async () => {
    const text = 'version: 0.1\nstorage: {filesystem: {rootdirectory: /x}, s3: {bucket: images}}\n'
    await expect(configured(text)).rejects.toThrow(/storage\.filesystem .*storage\.s3 .*both/)
    const { place } = await configured(text, { REGISTRY_STORAGE: 'filesystem' })
    expect(place).toEqual({ kind: 'filesystem', root: '/x' })
  })

  it('gives way to variables, and these to flags', async () => {
    const text = 'version: 0.1\nhttp: {addr: ":1"}\nlog: {level: debug}\n'
    const variables = { REGISTRY_HTTP_ADDR: ':2', REGISTRY_LOG_LEVEL: 'warn' }
    expect((await configured(text)).flags.addr).toBe(':1')
    expect((await configured(text, variables)).flags.addr).toBe(':2')
    const { flags } = await configured(text, variables, ['--addr', ':3'])
    expect(flags).toMatchObject({ addr: ':3', 'log-level': 'warn' })
  })

  it('refuses headers that no reply could carry', async () => {
    await expect(configured('version: 0.1\nhttp: {headers: {"a b": x}}\n')).rejects.toThrow(
      /headers/,
    )
  })
})

describe('REGISTRY_* variables', () => {
  it('work without a file, lists element by element', async () => {
    const { flags, place } = await configured(undefined, {
      REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: '/srv',
      REGISTRY_AUTH: 'htpasswd',
      REGISTRY_AUTH_HTPASSWD_PATH: '/users',
      REGISTRY_HTTP_TLS_CLIENTCAS_0: '/a.pem',
      REGISTRY_HTTP_TLS_CLIENTCAS_1: '/b.pem',
    })
    expect(place).toEqual({ kind: 'filesystem', root: '/srv' })
    expect(flags).toMatchObject({ htpasswd: '/users', 'client-ca': ['/a.pem', '/b.pem'] })
  })

  it('are named when they mean nothing, but not those of podman and Kubernetes', async () => {
    const { withoutEffect } = await configured(undefined, {
      REGISTRY_HTTP_ADR: ':1',
      REGISTRY_AUTH_FILE: '/auth.json',
      REGISTRY_PORT: 'tcp://10.0.0.1:5000',
      REGISTRY_SERVICE_HOST: '10.0.0.1',
    })
    expect(withoutEffect).toEqual([
      'REGISTRY_HTTP_ADR (did you mean REGISTRY_HTTP_ADDR?): unknown variable',
    ])
  })

  it('are refused where the file would be', async () => {
    await expect(
      configured(undefined, { REGISTRY_REDIS_ADDR: 'x', REGISTRY_LOG_LEVEL: 'loud' }),
    ).rejects.toThrow(/REGISTRY_LOG_LEVEL: expected one of.*\nREGISTRY_REDIS_ADDR: not supp/)
  })
})

const taken = keys.filter(key => key.use === 'taken')

describe('the table of keys', () => {
  const ofFlags = taken.flatMap(key => (key.flag === undefined ? [] : [{ ...key, flag: key.flag }]))

  it.each(ofFlags)('gives --$flag what it takes, with the same default: $path', key => {
    const flag: Flag = serveFlags[key.flag]
    if (typeof key.type !== 'string') expect(flag).toMatchObject({ choices: key.type })
    else expect(flag.kind).toBe(key.type)
    // Boolean flags have none but when it is true; and with a file, absence is distribution's.
    if (flag.kind !== 'boolean')
      expect(defaultOf(key)).toEqual('default' in flag ? flag.default : undefined)
  })

  it('has every flag of serve but those that name other things', () => {
    const named = new Set(taken.flatMap(key => key.flag ?? []))
    const others = Object.keys(serveFlags).filter(flag => !named.has(flag as never))
    expect(others).toEqual(['config', 'storage', 'upstream'])
  })

  it('has no two keys of one variable', () => {
    expect(new Set(keys.map(variableOf)).size).toBe(keys.length)
  })
})

function defaultOf(key: Extract<Key, { use: 'taken' }>): unknown {
  return key.type === 'duration' ? parseDuration(String(key.default)) : key.default
}

describe('tsregistry config schema', () => {
  const schema = configSchema() as Schema

  it.each(['config.yml', 'config-s3.yml'])('accepts deploy/%s, as the server does', name => {
    const text = readFileSync(join(checkout, 'deploy', name), 'utf8')
    expect(mistakes(schema, parse(text))).toEqual([])
    expect(problems(text)).toEqual([])
  })

  it("accepts distribution's example", () => {
    expect(mistakes(schema, parse(documented))).toEqual([])
  })

  it.each([
    ['{version: 0.1, htp: {}}', 'htp'],
    ['{http: {}}', 'version'],
    ['{version: 0.1, http: {draintimeout: soon}}', 'http.draintimeout'],
    ['{version: 0.1, http: {prefix: /x}}', 'http.prefix'],
    ['{version: 0.1, redis: {addr: x}}', 'redis'],
    ['{version: 0.1, tsregistry: {upstreams: {hub: {ttl: soon}}}}', 'tsregistry.upstreams.hub.ttl'],
    ['{version: 0.1, storage: {delete: {enabled: 5}}}', 'storage.delete.enabled'],
  ])('refuses %s', (text, path) => {
    expect(mistakes(schema, parse(text))).toEqual([path])
    expect(problems(text)).toHaveLength(1)
  })
})

interface Schema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | false
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly not?: Schema
}

/** The paths that a schema of these few words refuses. */
function mistakes(schema: Schema, value: unknown, path = ''): readonly string[] {
  if (!isOfType(schema, value) || !isAsWritten(schema, value, path)) return [path]
  if (Array.isArray(value)) return value.flatMap(item => mistakes(schema.items ?? {}, item, path))
  if (typeof value !== 'object' || value === null) return []
  const missing = (schema.required ?? []).filter(name => !(name in value))
  const inside = Object.entries(value).flatMap(([name, item]) => {
    const below = path === '' ? name : `${path}.${name}`
    const rule = schema.properties?.[name] ?? schema.additionalProperties
    return rule === false ? [below] : mistakes(rule ?? {}, item, below)
  })
  return [...missing, ...inside]
}

function isOfType({ type }: Schema, value: unknown): boolean {
  if (type === undefined) return true
  const own = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value
  return [type].flat().some(name => name === own || (name === 'integer' && own === 'number'))
}

function isAsWritten(schema: Schema, value: unknown, path: string): boolean {
  if (schema.not !== undefined) return false
  if (schema.enum !== undefined && !schema.enum.includes(value)) return false
  if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(String(value))) return false
  return schema.anyOf?.some(rule => mistakes(rule, value, path).length === 0) ?? true
}

describe('registries to pull through', () => {
  const without = { redirectHosts: [], tagTtlMs: 60_000, missTtlMs: 30_000, keepMs: 168 * 3600_000 }

  it("are distribution's one, for everything", async () => {
    const text = `version: 0.1
proxy:
  remoteurl: https://registry-1.docker.io
  username: [user]
  password: [secret]
  ttl: 0
`
    const [upstream, ...others] = (await configured(text.replaceAll(/[[\]]/g, ''))).upstreams
    expect(others).toEqual([])
    expect(upstream).toMatchObject({ ...without, prefix: '', keepMs: Number.POSITIVE_INFINITY })
    expect(upstream?.url.href).toBe('https://registry-1.docker.io/')
    expect(await upstream?.credentials?.()).toEqual({
      kind: 'password',
      username: 'user',
      password: 'secret',
    })
  })

  it('are several, each below its prefix with what is its own', async () => {
    const file = join(folder, 'password')
    writeFileSync(file, 'secret\n')
    const text = `version: 0.1
tsregistry:
  upstreams:
    docker.io: {url: docker.io}
    team/hub:
      url: https://harbor.example/hub
      username: robot
      passwordfile: ${file}
      tokenserver: login.example
      redirecthosts: [minio.internal:9000]
      tagttl: 5m
      missttl: 0
      ttl: 24h
    "*": {url: localhost:5001}
`
    const { upstreams } = await configured(text)
    expect(upstreams.map(({ prefix, url }) => [prefix, url.href])).toEqual([
      ['docker.io', 'https://docker.io/'],
      ['team/hub', 'https://harbor.example/hub'],
      ['', 'http://localhost:5001/'],
    ])
    expect(upstreams[0]).toEqual({ ...without, prefix: 'docker.io', url: upstreams[0]?.url })
    expect(upstreams[1]).toMatchObject({
      tokenServer: 'login.example',
      redirectHosts: ['minio.internal:9000'],
      tagTtlMs: 300_000,
      missTtlMs: 0,
      keepMs: 24 * 3600_000,
    })
    const credentials = { kind: 'password', username: 'robot', password: 'secret' }
    expect(await upstreams[1]?.credentials?.()).toEqual(credentials)
    writeFileSync(file, 'renewed')
    expect(await upstreams[1]?.credentials?.()).toMatchObject({ password: 'renewed' })
  })

  it('are logged in to with what a helper says, as long as it is good', async () => {
    const helper = join(folder, 'helper')
    const script = `#!/bin/sh\nread url; echo x >> ${folder}/asked\n`
    writeFileSync(helper, `${script}echo "{\\"Username\\":\\"$1\\",\\"Secret\\":\\"$url\\"}"\n`, {
      mode: 0o755,
    })
    const askTwice = async (lifetime: string) => {
      writeFileSync(join(folder, 'asked'), '')
      const text = `{version: 0.1, proxy: {remoteurl: "https://a.example", exec: {command: ${helper}${lifetime}}}}`
      const [upstream] = (await configured(text, { PATH: '/usr/bin:/bin' })).upstreams
      await upstream?.credentials?.()
      expect(await upstream?.credentials?.()).toEqual({
        kind: 'password',
        username: 'get',
        password: 'https://a.example/',
      })
      return readFileSync(join(folder, 'asked'), 'utf8').length / 2
    }
    expect(await askTwice('')).toBe(1)
    expect(await askTwice(', lifetime: 1h')).toBe(1)
    expect(await askTwice(', lifetime: 0s')).toBe(2)
  })

  it('are given by variables and by flags, which win', async () => {
    const variables = { REGISTRY_PROXY_REMOTEURL: 'https://a.example', REGISTRY_PROXY_TTL: '1h' }
    const flags = ['--upstream', 'quay.io', '--upstream', 'hub=docker.io']
    expect(
      (await configured(undefined, variables, flags)).upstreams.map(({ prefix, url, keepMs }) => [
        prefix,
        url.href,
        keepMs / 3600_000,
      ]),
    ).toEqual([
      ['', 'https://a.example/', 1],
      ['quay.io', 'https://quay.io/', 168],
      ['hub', 'https://docker.io/', 168],
    ])
    const { upstreams } = await configured(undefined, variables, ['--upstream', '*=b.example'])
    expect(upstreams.map(({ url }) => url.host)).toEqual(['b.example'])
  })

  it.each([
    ['proxy: {ttl: 1h}', /c.*:2: proxy\.remoteurl: missing/],
    ['proxy: {remoteurl: "ftp://a.example"}', /:2: expected the address of a registry/],
    ['proxy: {remoteurl: "https://u:hunter2@a.example"}', /:2: expected the address .*HOST$/],
    ['proxy: {remoteurl: a.example, username: u}', /:2: expected username with a password/],
    ['tsregistry: {upstreams: {Hub: {url: a.example}}}', /:2: Cannot parse/],
    ['tsregistry: {upstreams: {hub: {username: u}}}', /:2: url: missing/],
    [
      'tsregistry: {upstreams: {hub: {url: a, username: u, password: p, passwordfile: f}}}',
      /:2: expected username with a password, and one alone/,
    ],
    [
      'tsregistry: {upstreams: {hub: {url: a, username: u, exec: {command: c}}}}',
      /:2: exec\.command and a password are both there/,
    ],
    [
      'tsregistry: {upstreams: {"*": {url: a}}}\nproxy: {remoteurl: b}',
      /proxy\.remoteurl and tsregistry\.upstreams\."\*" are the same/,
    ],
  ])('refuse %s', async (text, message) => {
    await expect(configured(`version: 0.1\n${text}\n`)).rejects.toThrow(message)
  })
})

describe('docs/configuration.md', () => {
  const page = readFileSync(join(checkout, 'docs/configuration.md'), 'utf8')

  it('has each key with its type, default, reload and flag, and no other', () => {
    const typeOf = (type: Key['type']) =>
      typeof type === 'string' ? type : isList(type) ? 'list' : type.join(', ')
    const rows = taken.flatMap(key => {
      const type = typeOf(key.type)
      const members = (isList(key.type) ? key.type.list : []).map(member => {
        const given = member.default === undefined ? '' : `\`${member.default}\``
        return `| \`${key.path}[].${member.name}\` | ${typeOf(member.type)} | ${given} | ${key.reload === true ? 'yes' : ''} |  | ${member.help} |`
      })
      const fallback = key.default === undefined ? '' : `\`${key.default}\``
      const flag = key.flag === undefined ? '' : `\`--${key.flag}\``
      const reload = key.reload === true ? 'yes' : ''
      const own = `| \`${key.path}\` | ${type} | ${fallback} | ${reload} | ${flag} | ${key.help} |`
      return [own, ...members]
    })
    const accepted = keys.flatMap(key =>
      key.use === 'accepted' ? [`| \`${key.path}\` | ${key.help} |`] : [],
    )
    const refused = keys.flatMap(key => {
      if (key.use !== 'refused') return []
      const unless = (key.unless ?? []).map(value => `\`${JSON.stringify(value)}\``).join(', ')
      return [`| \`${key.path}\` | ${unless} | ${key.help} |`]
    })
    const documentedRows = page.split('\n').filter(line => line.startsWith('| `'))
    expect(documentedRows).toEqual([...rows, ...accepted, ...refused])
  })
})
