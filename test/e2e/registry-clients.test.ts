/** The clients that people script registries with, against ours: what each of them calls done is whole. */
import { mkdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { type Containerd, startContainerd } from './containerd-daemon.ts'
import { run } from './process.ts'
import { fixture, openWorkspace, type Registry, type Store } from './workspace.ts'

const work = openWorkspace('registry-clients')
let store: Store
let registry: Registry
let image: string
let digest: string

beforeAll(async () => {
  store = await work.storeWithBusybox('store')
  registry = await work.serve()
  image = `${registry.address}/clients/hello:1`
  const metadata = work.path('metadata.json')
  await store.tsbuild(['-t', image, '--push', '--metadata-file', metadata, fixture('hello')])
  digest = JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest']
})
afterAll(() => work.close())

const call = async (program: string, ...args: string[]) =>
  (await run(program, args, { env: work.env })).stdout.trim()

describeWith(['root', 'build', 'busybox', 'crane'], 'crane', () => {
  const crane = (command: string, ...args: string[]) =>
    call('crane', command, '--insecure', ...args)

  test('copies to another repository, which mounts every blob and keeps the digest', async () => {
    const copy = `${registry.address}/clients/copied:2`
    await crane('copy', image, copy)
    expect(await crane('digest', copy)).toBe(digest)
    expect(await crane('validate', '--remote', copy)).toContain('PASS')
  })

  test('appends a layer, exports it, tags it, lists and deletes the tag', async () => {
    const layer = work.path('layer.tar')
    work.write('layer', { added: 'by crane' })
    await call('tar', '-cf', layer, '-C', work.path('layer'), 'added')
    const appended = image.replace(/:1$/, ':appended')
    await crane('append', '-b', image, '-f', layer, '-t', appended)
    await crane('export', appended, work.path('exported.tar'))
    expect(await call('tar', '-xOf', work.path('exported.tar'), 'added')).toBe('by crane')
    await crane('tag', appended, 'also')
    expect((await crane('ls', image.replace(/:1$/, ''))).split('\n')).toContain('also')
    await crane('delete', image.replace(/:1$/, ':also'))
    expect((await crane('ls', image.replace(/:1$/, ''))).split('\n')).not.toContain('also')
  })
})

describeWith(['root', 'build', 'busybox', 'regctl'], 'regctl', () => {
  const regctl = (...args: string[]) => call('regctl', ...args)
  beforeAll(() => regctl('registry', 'set', '--tls', 'disabled', registry.address))

  test('attaches an artifact, finds it as a referrer and takes it along with a copy', async () => {
    const file = `${work.write('artifact', { statement: 'signed' })}/statement`
    const type = 'application/vnd.example.statement'
    await regctl('artifact', 'put', '--artifact-type', type, '--subject', image, '--file', file)
    expect(await regctl('artifact', 'list', image)).toContain(type)
    const copy = `${registry.address}/clients/regctl:1`
    await regctl('image', 'copy', '--referrers', image, copy)
    expect(await regctl('artifact', 'list', copy)).toContain(type)
    expect(await regctl('artifact', 'get', '--subject', copy)).toBe('signed')
  })

  test('exports, imports and deletes by digest, with the tags that named it', async () => {
    const archive = work.path('regctl.tar')
    await regctl('image', 'export', image, archive)
    const imported = `${registry.address}/clients/imported:1`
    await regctl('image', 'import', imported, archive)
    expect(await regctl('manifest', 'head', imported)).toBe(digest)
    await regctl('manifest', 'delete', '--force-tag-dereference', imported)
    expect(await regctl('tag', 'ls', imported.replace(/:1$/, ''))).toBe('')
  })
})

describeWith(['root', 'build', 'oras'], 'oras', () => {
  const oras = (...args: string[]) => call('oras', ...args)
  const plain = '--plain-http'

  test('pushes files, attaches to them, copies with what is attached, lists, pulls and deletes', async () => {
    const repository = `${registry.address}/clients/oras`
    const copy = `${registry.address}/clients/oras-copy`
    const files = work.write('oras', { data: 'of oras', note: 'signed' })
    // Paths that are not below the working directory are refused otherwise.
    const push = ['--disable-path-validation', plain]
    await oras('push', ...push, `${repository}:1`, `${files}/data:text/plain`)
    const type = ['--artifact-type', 'application/vnd.example.note']
    await oras('attach', ...push, ...type, `${repository}:1`, `${files}/note:text/plain`)
    expect(await oras('discover', plain, `${repository}:1`)).toContain(type[1])
    const between = ['--from-plain-http', '--to-plain-http']
    await oras('cp', '-r', ...between, `${repository}:1`, `${copy}:2`)
    expect(await oras('discover', plain, `${copy}:2`)).toContain(type[1])
    expect(await oras('repo', 'tags', plain, copy)).toBe('2')
    expect((await oras('repo', 'ls', plain, registry.address)).split('\n')).toContain(
      'clients/oras-copy',
    )
    const manifest = JSON.parse(await oras('manifest', 'fetch', plain, `${copy}:2`))
    const blob = await oras(
      'blob',
      'fetch',
      plain,
      '-o',
      '-',
      `${copy}@${manifest.layers[0].digest}`,
    )
    expect(blob).toBe('of oras')
    await oras('manifest', 'delete', plain, '--force', `${copy}:2`)
    await expect(oras('manifest', 'fetch', plain, `${copy}:2`)).rejects.toThrow(/not found/)
  })
})

describeWith(['root', 'build', 'busybox', 'containerd'], 'containerd', () => {
  let containerd: Containerd
  beforeAll(async () => {
    containerd = await startContainerd(work)
  })
  afterAll(() => containerd.stop())
  const named = (name: string) => `${registry.address}/clients/${name}`

  /** Plain HTTP, which nothing but a hosts.toml makes it speak here. */
  const hosts = () =>
    work.write('hosts', {
      [`${registry.address.replace(':', '_')}_/hosts.toml`]: `server = "http://${registry.address}"
[host."http://${registry.address}"]
capabilities = ["pull", "resolve", "push"]
`,
    })

  test('ctr pulls an image by hosts.toml, pushes it to another name, and pulls that by digest', async () => {
    const copy = named('containerd:1')
    await containerd.ctr('images', 'pull', '--hosts-dir', hosts(), '--snapshotter', 'native', image)
    await containerd.ctr('images', 'tag', image, copy)
    await containerd.ctr('images', 'push', '--hosts-dir', hosts(), copy)
    const head = await fetch(`http://${registry.address}/v2/clients/containerd/manifests/1`, {
      method: 'HEAD',
      headers: { accept: '*/*' },
    })
    expect(head.headers.get('docker-content-digest')).toBe(digest)
    for (const name of [image, copy]) await containerd.ctr('images', 'rm', '--sync', name)
    const pinned = `${named('containerd')}@${digest}`
    await containerd.ctr('content', 'fetch', '--hosts-dir', hosts(), pinned)
    expect((await containerd.ctr('images', 'ls')).stdout).toContain(pinned)
  })

  test('ctr is told of a tag that is not there', async () => {
    const pull = containerd.ctr('content', 'fetch', '--hosts-dir', hosts(), named('hello:none'))
    await expect(pull).rejects.toThrow(/hello:none: not found/)
  })
})

describeWith(['root', 'build', 'helm'], 'helm', () => {
  test('pushes a chart and pulls it again', async () => {
    const chart = work.write('chart', {
      'Chart.yaml': 'apiVersion: v2\nname: chart\nversion: 0.1.0\n',
      'values.yaml': 'replicas: 3\n',
    })
    await call('helm', 'package', chart, '-d', work.directory)
    const home = `oci://${registry.address}/charts`
    await call('helm', 'push', '--plain-http', work.path('chart-0.1.0.tgz'), home)
    mkdirSync(work.path('pulled'))
    const to = ['--version', '0.1.0', '-d', work.path('pulled')]
    await call('helm', 'pull', '--plain-http', `${home}/chart`, ...to)
    const values = await call(
      'tar',
      '-xzOf',
      work.path('pulled/chart-0.1.0.tgz'),
      'chart/values.yaml',
    )
    expect(values).toBe('replicas: 3')
  })
})

describeWith(['root', 'build', 'busybox', 'cosign'], 'cosign', () => {
  const cosign = (...args: string[]) =>
    run('cosign', args, { env: { ...work.env, COSIGN_PASSWORD: '' } })
  const ours = ['--allow-insecure-registry', '--allow-http-registry']

  test('signs with a key, and verifies what it signed alone', async () => {
    const prefix = work.path('cosign')
    await cosign('generate-key-pair', '--output-key-prefix', prefix)
    const signed = `${image.replace(/:1$/, '')}@${digest}`
    const offline = ['--tlog-upload=false', '--use-signing-config=false']
    await cosign('sign', '--yes', '--key', `${prefix}.key`, ...offline, ...ours, signed)
    const key = ['--key', `${prefix}.pub`, '--insecure-ignore-tlog=true']
    expect((await cosign('verify', ...key, ...ours, signed)).stdout).toContain(digest)
    const other = `${registry.address}/clients/unsigned:1`
    await store.tsbuild(['-t', other, '--push', '--label', 'signed=no', fixture('hello')])
    await expect(cosign('verify', ...key, ...ours, other)).rejects.toThrow(/no signatures found/)
  })
})
