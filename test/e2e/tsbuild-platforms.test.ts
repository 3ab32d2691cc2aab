/** `tsbuild --platform a,b`, and how its images are written, read by other programs. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeWith, missing } from '../support/requires.ts'
import { run } from './process.ts'
import { openWorkspace, type Registry, type Store } from './workspace.ts'

const dockerfile = `
FROM --platform=$BUILDPLATFORM busybox AS build
RUN echo built once >> /result
FROM scratch
COPY --from=build /result /result
ARG TARGETARCH
COPY $TARGETARCH /arch
ENTRYPOINT ["/arch"]
`

/** An ELF header of a 64-bit program for ARM, and nothing to run. */
function armProgram(): Buffer {
  const program = Buffer.alloc(0x80)
  Buffer.from('7f454c4602010100', 'hex').copy(program)
  program.writeUInt16LE(2, 16)
  program.writeUInt16LE(183, 18)
  program.writeUInt32LE(1, 20)
  program.writeBigUInt64LE(0x400078n, 24)
  program.writeBigUInt64LE(64n, 32)
  program.writeUInt16LE(64, 52)
  program.writeUInt16LE(56, 54)
  program.writeUInt16LE(1, 56)
  program.writeUInt32LE(1, 64)
  program.writeUInt32LE(5, 68)
  return program
}

const both = ['--platform', 'linux/arm64,linux/amd64']

describeWith(['root', 'build', 'busybox'], 'tsbuild for several platforms', () => {
  const work = openWorkspace('platforms')
  let store: Store
  let registry: Registry
  let context: string
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    registry = await work.serve()
    context = work.write('context', { Dockerfile: dockerfile, amd64: 'amd\n', arm64: 'arm\n' })
  })
  afterAll(() => work.close())

  const layout = (directory: string) => {
    const read = (file: string) => readFileSync(join(directory, file))
    const blob = (digest: string) => read(`blobs/${digest.replace(':', '/')}`)
    const json = (digest: string) => JSON.parse(blob(digest).toString())
    const [root] = JSON.parse(read('index.json').toString()).manifests
    return { root, blob, json }
  }
  const built = async (name: string, options: string, args: readonly string[] = []) => {
    const directory = work.path(name)
    const output = `type=oci,tar=false,dest=${directory}${options}`
    const { stderr } = await store.tsbuild(['--progress', 'plain', ...args, '-o', output, context])
    return { ...layout(directory), stderr }
  }

  test('one index in the order asked for; what is the same for all runs once', async () => {
    const iid = work.path('iid')
    const metadata = work.path('metadata')
    const files = ['--iidfile', iid, '--metadata-file', metadata]
    const { root, json, stderr } = await built('index', '', [...both, ...files, '-t', 'two:1'])
    const { manifests } = json(root.digest)
    expect(manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
      { architecture: 'arm64', os: 'linux' },
      { architecture: 'amd64', os: 'linux' },
    ])
    for (const { digest, platform } of manifests) {
      expect(json(json(digest).config.digest)).toMatchObject(platform)
    }
    expect(new Set(stderr.match(/^#\d+ \[.*RUN echo built once/gm)).size).toBe(1)
    expect(stderr).toContain('[linux/arm64 stage-1 2/2] COPY arm64 /arch')
    expect(stderr).toContain('[linux/amd64 stage-1 2/2] COPY amd64 /arch')
    expect(readFileSync(iid, 'utf8')).toBe(root.digest)
    expect(JSON.parse(readFileSync(metadata, 'utf8'))).toMatchObject({
      'containerimage.digest': root.digest,
      'containerimage.descriptor': { mediaType: root.mediaType },
      'image.name': 'docker.io/library/two:1',
    })
  })

  test('files go into a directory per platform', async () => {
    const local = work.path('local')
    const tar = work.path('files.tar')
    const outputs = ['-o', `type=local,dest=${local}`, '-o', `type=tar,dest=${tar}`]
    await store.tsbuild([...both, ...outputs, context])
    expect(readdirSync(local).sort()).toEqual(['linux_amd64', 'linux_arm64'])
    expect(readFileSync(join(local, 'linux_arm64/arch'), 'utf8')).toBe('arm\n')
    const { stdout } = await run('tar', ['-tf', tar])
    expect(stdout.split('\n').filter(line => line.endsWith('arch'))).toEqual([
      'linux_arm64/arch',
      'linux_amd64/arch',
    ])
    const single = work.path('single')
    await store.tsbuild(['-o', `type=local,dest=${single},platform-split=true`, context])
    expect(readdirSync(single)).toEqual(['linux_amd64'])
  })

  test('the index is pushed with its children, and each is pulled by its platform', async () => {
    const name = `${registry.address}/team/two:1`
    await store.tsbuild([...both, '-t', name, '--push', context])
    const other = work.store('other')
    await other.tsbuild(['pull', '-q', '--platform', 'linux/arm64', name])
    const [arm] = JSON.parse((await other.tsbuild(['inspect', name])).stdout)
    expect(arm).toMatchObject({ Architecture: 'arm64' })
    if (missing(['skopeo']) !== undefined) return
    const { stdout } = await run('skopeo', [
      ...['inspect', '--raw', '--tls-verify=false'],
      `docker://${name}`,
    ])
    expect(JSON.parse(stdout).manifests).toHaveLength(2)
  })

  test('an index of ours is the base of the next build, each platform on its own', async () => {
    const name = `${registry.address}/team/base:1`
    await store.tsbuild([...both, '-t', name, '--push', context])
    const next = work.write('next', { Dockerfile: `FROM ${name}\nCOPY f /f\n`, f: '' })
    const directory = work.path('from-index')
    const fresh = work.store('fresh')
    const output = `type=local,dest=${directory}`
    const { stderr } = await fresh.tsbuild(['--progress', 'plain', ...both, '-o', output, next])
    expect(readFileSync(join(directory, 'linux_arm64/arch'), 'utf8')).toBe('arm\n')
    expect(readFileSync(join(directory, 'linux_amd64/arch'), 'utf8')).toBe('amd\n')
    expect(stderr).toContain(`[linux/arm64 internal] load metadata for ${name}`)
  })

  test('a step for another machine says what this one lacks', async () => {
    if (existsSync('/proc/sys/fs/binfmt_misc/qemu-aarch64')) return
    const directory = work.path('foreign')
    mkdirSync(directory)
    writeFileSync(join(directory, 'program'), armProgram())
    writeFileSync(
      join(directory, 'Dockerfile'),
      'FROM scratch\nCOPY --chmod=755 program /p\nRUN ["/p"]\n',
    )
    const { code, stderr } = await store.attempt('tsbuild', ['--platform', 'arm64', directory])
    expect(code).toBe(1)
    expect(stderr).toContain('   3 | >>> RUN ["/p"]')
    expect(stderr).toMatch(
      /The step is for linux\/arm64 and this machine is linux\/amd64: .*binfmt_misc/,
    )
  })

  test('push-by-digest sets no tag', async () => {
    const name = `${registry.address}/team/untagged`
    const metadata = work.path('by-digest')
    await store.tsbuild([
      ...['-o', `type=image,name=${name},push=true,push-by-digest=true`],
      ...['--metadata-file', metadata, context],
    ])
    const { 'containerimage.digest': digest } = JSON.parse(readFileSync(metadata, 'utf8'))
    const other = work.store('by-digest-store')
    await other.tsbuild(['pull', '-q', `${name}@${digest}`])
    expect((await other.attempt('tsbuild', ['pull', '-q', name])).code).toBe(1)
  })

  describe('options of an image', () => {
    test('Docker’s media types, in an index, too', async () => {
      const { root, json } = await built('docker-types', ',oci-mediatypes=false', both)
      expect(root.mediaType).toBe('application/vnd.docker.distribution.manifest.list.v2+json')
      const [first] = json(root.digest).manifests
      const manifest = json(first.digest)
      expect([first.mediaType, manifest.config.mediaType, manifest.layers[0].mediaType]).toEqual([
        'application/vnd.docker.distribution.manifest.v2+json',
        'application/vnd.docker.container.image.v1+json',
        'application/vnd.docker.image.rootfs.diff.tar.gzip',
      ])
    })

    test('compression of own layers, and of the base’s when forced', async () => {
      const pushed = `${registry.address}/team/gzipped:1`
      await store.tsbuild(['tag', 'busybox', pushed])
      await store.tsbuild(['push', pushed])
      const onBase = work.write('on-base', { Dockerfile: `FROM ${pushed}\nRUN echo x > /x\n` })
      const fresh = work.store('compressing')
      const layersOf = async (name: string, options: string) => {
        const directory = work.path(name)
        await fresh.tsbuild(['-o', `type=oci,tar=false,dest=${directory},${options}`, onBase])
        const { root, json, blob } = layout(directory)
        const { layers, config } = json(root.digest)
        const { diff_ids: ids } = json(config.digest).rootfs
        const types = layers.map(
          (layer: { mediaType: string }) => /gzip$|tar$/.exec(layer.mediaType)?.[0],
        )
        return { types, ids, layers, blob }
      }
      const plain = await layersOf('plain', 'compression=uncompressed')
      expect(plain.types).toEqual(['gzip', 'tar'])
      const forced = await layersOf('forced', 'compression=uncompressed,force-compression=true')
      expect(forced.types).toEqual(['tar', 'tar'])
      expect(forced.layers.map(({ digest }: { digest: string }) => digest)).toEqual(forced.ids)
      expect(forced.ids).toEqual(plain.ids)
      const best = await layersOf('best', 'compression-level=9,force-compression=true')
      const fast = await layersOf('fast', 'compression-level=1,force-compression=true')
      expect(best.ids).toEqual(plain.ids)
      expect(best.layers[0].size).toBeLessThan(fast.layers[0].size)
      const tar = gunzipSync(best.blob(best.layers[0].digest))
      expect(tar.equals(forced.blob(forced.layers[0].digest))).toBe(true)
    })

    test('annotations of manifests, the index, and what points at them', async () => {
      const args = [...both, '--annotation', 'a=1', '--annotation', 'index,index-descriptor:i=2']
      const more = ',annotation-manifest-descriptor[linux/amd64].d=3'
      const { root, json } = await built('annotated', more, args)
      expect(root.annotations).toMatchObject({ i: '2' })
      const index = json(root.digest)
      expect(index.annotations).toEqual({ i: '2' })
      expect(index.manifests.map((one: { annotations?: object }) => one.annotations)).toEqual([
        undefined,
        { d: '3' },
      ])
      expect(json(index.manifests[0].digest).annotations).toEqual({ a: '1' })
    })
  })
})
