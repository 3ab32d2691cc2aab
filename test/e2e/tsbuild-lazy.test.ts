/** What a build does not fetch, make or send. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { checkout, openWorkspace, type Registry, type Store } from './workspace.ts'

interface Manifest {
  readonly config: { readonly digest: string }
  readonly layers: readonly { readonly digest: string }[]
}

describeWith(['root', 'build', 'busybox'], 'tsbuild, a base that is not in the store', () => {
  const work = openWorkspace('lazy')
  let here: Registry
  let elsewhere: Registry
  let baseLayers: readonly string[]
  beforeAll(async () => {
    here = await work.serve()
    elsewhere = await work.serve()
    const store = await work.storeWithBusybox('first')
    const base = `${here.address}/base:1`
    await store.tsbuild(['tag', 'busybox', base])
    await store.tsbuild(['push', base])
    baseLayers = (await manifestOf(here, 'base', '1')).layers.map(({ digest }) => digest)
  })
  afterAll(() => work.close())

  const manifestOf = async (
    { address }: Registry,
    name: string,
    tag: string,
  ): Promise<Manifest> => {
    const accept = 'application/vnd.oci.image.manifest.v1+json'
    const reply = await fetch(`http://${address}/v2/${name}/manifests/${tag}`, {
      headers: { accept },
    })
    expect(reply.status).toBe(200)
    return (await reply.json()) as Manifest
  }
  const blobsOf = ({ root }: Store) => readdirSync(join(root, 'blobs/sha256'))
  const holdsBase = (store: Store) =>
    baseLayers.some(digest => blobsOf(store).includes(digest.replace('sha256:', '')))
  const contextOn = (from: string, ...lines: string[]) =>
    work.write('context', { Dockerfile: [`FROM ${from}`, ...lines].join('\n'), file: 'content\n' })

  test('K12 COPY --link and metadata need its manifest and configuration alone; a push mounts its blobs', async () => {
    const store = work.store('mounting')
    const context = contextOn(
      `${here.address}/base:1`,
      'COPY --link file /file',
      'CMD ["cat", "/file"]',
    )
    const { stderr } = await store.tsbuild([
      '-t',
      `${here.address}/app:1`,
      '--push',
      '--progress',
      'plain',
      context,
    ])
    expect(stderr).toContain('(mounted from base)')
    expect(stderr).not.toContain('unpack')
    expect(holdsBase(store)).toBe(false)
    const { stdout } = await work
      .store('running')
      .tsrun(['--rm', '--network', 'none', `${here.address}/app:1`])
    expect(stdout).toBe('content\n')
  })

  test('K12 no layer is compressed before an image is exported', async () => {
    const store = work.store('uncompressed')
    const context = contextOn('scratch', 'COPY file /file')
    await store.tsbuild(['-o', 'type=cacheonly', context])
    expect(existsSync(join(store.root, 'blobs/sha256')) ? blobsOf(store) : []).toEqual([])
    const { stderr } = await store.tsbuild(['-t', 'app', '--progress', 'plain', context])
    expect(stderr).toContain('CACHED')
    // Its layer, configuration and manifest.
    expect(blobsOf(store)).toHaveLength(3)
  })

  test('a push to another registry streams its blobs there, and keeps none', async () => {
    const store = work.store('streaming')
    const context = contextOn(
      `${here.address}/base:1`,
      'COPY --link file /file',
      'CMD ["cat", "/file"]',
    )
    await store.tsbuild(['-t', `${elsewhere.address}/app:1`, '--push', context])
    expect(holdsBase(store)).toBe(false)
    const { layers } = await manifestOf(elsewhere, 'app', '1')
    expect(layers.slice(0, -1).map(({ digest }) => digest)).toEqual(baseLayers)
    const { stdout } = await work
      .store('running')
      .tsrun(['--rm', '--network', 'none', `${elsewhere.address}/app:1`])
    expect(stdout).toBe('content\n')
  })

  test('without a push the image is whole in the store', async () => {
    const store = work.store('storing')
    await store.tsbuild([
      '-t',
      'app',
      contextOn(`${here.address}/base:1`, 'COPY --link file /file'),
    ])
    expect(holdsBase(store)).toBe(true)
  })

  test('a step that reads its files brings them, below the linked layer too', async () => {
    const store = work.store('reading')
    const context = contextOn(
      `${here.address}/base:1`,
      'COPY --link file /file',
      'RUN cat /file > /read',
    )
    await store.tsbuild(['-t', `${here.address}/app:2`, '--push', context])
    expect(holdsBase(store)).toBe(true)
    const { stdout } = await store.tsrun([
      '--rm',
      '--network',
      'none',
      `${here.address}/app:2`,
      'cat',
      '/read',
    ])
    expect(stdout).toBe('content\n')
  })

  test('pushed again, nothing is uploaded and no layer is made', async () => {
    const store = work.store('mounting')
    const context = contextOn(
      `${here.address}/base:1`,
      'COPY --link file /file',
      'CMD ["cat", "/file"]',
    )
    const { stderr } = await store.tsbuild([
      '-t',
      `${here.address}/app:1`,
      '--push',
      '--progress',
      'plain',
      context,
    ])
    expect(stderr.match(/[0-9a-f]{12} \(already there\)/g)).toHaveLength(baseLayers.length + 2)
  })
})

describeWith(['root', 'build', 'strace'], 'tsbuild, a context that did not change', () => {
  const work = openWorkspace('unchanged')
  afterAll(() => work.close())

  test('K11 costs one lstat for each file, and reads none', async () => {
    const count = 500
    const names = Array.from({ length: count }, (_, index) => [`d/measured-${index}`, `${index}\n`])
    const files = { Dockerfile: 'FROM scratch\nCOPY . /\n', ...Object.fromEntries(names) }
    const context = work.write('context', files)
    const store = work.store('store')
    // What was changed a moment ago may change again unseen, so it is read again until then.
    await delay(2100)
    await store.tsbuild([context])
    const trace = work.path('trace')
    const program = join(checkout, 'dist/cli/tsbuild.js')
    const calls = ['statx', 'openat', 'openat2', 'llistxattr', 'readlinkat'].join()
    const words = ['-f', '-e', `trace=${calls}`, '-o', trace, process.execPath, program, context]
    const { stderr } = await run('strace', words, {
      env: { ...work.env, TSBUILD_ROOT: store.root },
    })
    expect(stderr).toContain('CACHED')
    const lines = readFileSync(trace, 'utf8')
      .split('\n')
      .filter(line => line.includes('measured-'))
    expect(lines.filter(line => line.includes('statx('))).toHaveLength(count)
    expect(lines).toHaveLength(count)
  })
})
