/** skopeo copies our images between all it knows, and the bytes stay the same. */
import { mkdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { fixture, openWorkspace, type Registry, type Store } from './workspace.ts'

describeWith(['root', 'build', 'busybox', 'skopeo'], 'skopeo', () => {
  const work = openWorkspace('skopeo')
  let store: Store
  let registry: Registry
  let image: string
  let digest: string
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    registry = await work.serve()
    image = `${registry.address}/skopeo/hello:1`
    const metadata = work.path('metadata.json')
    await store.tsbuild(['-t', image, '--push', '--metadata-file', metadata, fixture('hello')])
    digest = JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest']
  })
  afterAll(() => work.close())

  const skopeo = async (...args: string[]) =>
    (await run('skopeo', ['--tmpdir', work.path('tmp'), ...args], { env: work.env })).stdout
  const copy = (from: string, to: string) =>
    skopeo('copy', '--quiet', '--src-tls-verify=false', '--dest-tls-verify=false', from, to)
  const digestIn = async (name: string) =>
    JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${name}`)).Digest
  const greets = async (name: string, other: Store) => {
    const { stdout } = await other.tsrun(['--rm', '--network', 'none', name, 'copied'])
    return stdout.startsWith('Hello, world, copied\n')
  }

  test('inspects what was pushed', async () => {
    const seen = JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${image}`))
    const [ours] = JSON.parse((await store.tsbuild(['inspect', image])).stdout)
    expect(seen).toMatchObject({
      Name: image.replace(/:1$/, ''),
      Digest: digest,
      RepoTags: ['1'],
      Architecture: 'amd64',
      Os: 'linux',
      Env: ours.Config.Env,
      Labels: { 'org.opencontainers.image.title': 'hello' },
      Layers: ours.Layers.map((layer: { digest: string }) => layer.digest),
    })
    const config = await skopeo('inspect', '--tls-verify=false', '--config', `docker://${image}`)
    expect(JSON.parse(config).rootfs.diff_ids).toEqual(ours.RootFS.Layers)
  })

  test('registry to OCI layout and back keeps the digest', async () => {
    const layout = work.path('layout')
    await copy(`docker://${image}`, `oci:${layout}:hello`)
    const back = `${registry.address}/skopeo/from-layout:1`
    await copy(`oci:${layout}:hello`, `docker://${back}`)
    expect(await digestIn(back)).toBe(digest)
    const other = work.store('from-layout')
    await other.tsbuild(['load', '--input', layout])
    expect(await greets((await other.tsbuild(['images', '-q'])).stdout.trim(), other)).toBe(true)
  })

  test('our OCI layouts and archives go to a registry with their digest', async () => {
    const layout = work.path('our-layout')
    mkdirSync(layout)
    await store.tsbuild(['-t', image, '-o', `type=oci,tar=false,dest=${layout}`, fixture('hello')])
    const archive = work.path('our-archive.tar')
    await store.tsbuild(['-t', image, '-o', `type=oci,dest=${archive}`, fixture('hello')])
    for (const [index, source] of [`oci:${layout}`, `oci-archive:${archive}`].entries()) {
      const name = `${registry.address}/skopeo/from-ours:${index}`
      await copy(source, `docker://${name}`)
      expect(await digestIn(name)).toBe(digest)
    }
  })

  test('docker-archive both ways', async () => {
    const ours = work.path('ours.tar')
    await store.tsbuild(['save', '--output', ours, image])
    const name = `${registry.address}/skopeo/from-docker-archive:1`
    await copy(`docker-archive:${ours}`, `docker://${name}`)
    expect(await greets(name, work.store('from-ours'))).toBe(true)

    const theirs = work.path('theirs.tar')
    await copy(`docker://${image}`, `docker-archive:${theirs}:example.com/theirs:1`)
    const other = work.store('from-theirs')
    const { stdout } = await other.tsbuild(['load', '--input', theirs])
    expect(stdout).toBe('Loaded image: example.com/theirs:1\n')
    expect(await greets('example.com/theirs:1', other)).toBe(true)
  })

  test('deletes a tag, and the image is gone', async () => {
    const name = `${registry.address}/skopeo/doomed:1`
    await copy(`docker://${image}`, `docker://${name}`)
    await skopeo('delete', '--tls-verify=false', `docker://${name}`)
    const { code, stderr } = await work.store('late').attempt('tsrun', ['pull', name])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('404 Not Found') })
  })
})
