/** `tsbuild -o`: what becomes of a build, read by other programs. */
import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { openWorkspace, type Store } from './workspace.ts'

const dockerfile = `
FROM busybox AS build
RUN mkdir -p /out/sub && echo result > /out/result && ln -s ../result /out/sub/link \\
 && chmod 750 /out/sub && chown 1234:5678 /out/result
FROM scratch
COPY --from=build /out /
COPY script /bin/script
LABEL a=b
`

/** Where the footer of an eStargz blob says that its table of contents is. */
function tocOf(blob: Buffer): Buffer {
  const offset = Number.parseInt(blob.toString('latin1', blob.length - 35, blob.length - 19), 16)
  const tar = gunzipSync(blob.subarray(offset))
  return tar.subarray(512, 512 + Number.parseInt(tar.toString('latin1', 124, 135), 8))
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

describeWith(['root', 'build', 'busybox'], 'tsbuild --output', () => {
  const work = openWorkspace('outputs')
  let store: Store
  let context: string
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    context = work.write('context', { Dockerfile: dockerfile, script: '#!/bin/sh\n' })
    chmodSync(join(context, 'script'), 0o755)
  })
  afterAll(() => work.close())

  /** `file → content` of a tar, by GNU tar; metadata as it lists it. */
  const unpack = async (archive: string, name: string) => {
    const directory = work.path(name)
    mkdirSync(directory)
    await run('tar', ['-xf', archive, '-C', directory])
    return (file: string) => JSON.parse(readFileSync(join(directory, file), 'utf8'))
  }
  const blob = (digest: string) => `blobs/${digest.replace(':', '/')}`

  const expectFiles = (directory: string) => {
    expect(readdirSync(directory).sort()).toEqual(['bin', 'result', 'sub'])
    expect(readFileSync(join(directory, 'sub/link'), 'utf8')).toBe('result\n')
    const { uid, gid } = lstatSync(join(directory, 'result'))
    expect({ uid, gid }).toEqual({ uid: 1234, gid: 5678 })
    expect(lstatSync(join(directory, 'sub')).mode & 0o7777).toBe(0o750)
    expect(lstatSync(join(directory, 'bin/script')).mode & 0o7777).toBe(0o755)
    expect(lstatSync(join(directory, 'sub/link')).isSymbolicLink()).toBe(true)
  }

  test('type=local writes the files into a directory, with owners and modes', async () => {
    const directory = work.path('local')
    await store.tsbuild(['-o', `type=local,dest=${directory}`, context])
    expectFiles(directory)
  })

  test('a bare path is type=local', async () => {
    const directory = work.path('bare')
    await store.tsbuild(['-o', directory, context])
    expectFiles(directory)
  })

  test('type=tar writes one flat archive that GNU tar unpacks', async () => {
    const archive = work.path('flat.tar')
    await store.tsbuild(['-o', `type=tar,dest=${archive}`, context])
    const directory = work.path('flat')
    mkdirSync(directory)
    await run('tar', ['-xpf', archive, '--numeric-owner', '-C', directory])
    expectFiles(directory)
  })

  test('compression=estargz makes layers that digest their files, of the base too when forced', async () => {
    const archive = work.path('lazy.tar')
    const options = 'compression=estargz,force-compression=true'
    await store.tsbuild(['-o', `type=oci,dest=${archive},${options}`, context])
    const read = await unpack(archive, 'lazy')
    const { manifests } = read('index.json')
    const { layers } = read(blob(manifests[0].digest))
    for (const { digest, annotations, mediaType } of layers) {
      expect(mediaType).toBe('application/vnd.oci.image.layer.v1.tar+gzip')
      const bytes = readFileSync(join(work.path('lazy'), blob(digest)))
      const toc = tocOf(bytes)
      expect(annotations['containerd.io/snapshot/stargz/toc.digest']).toBe(sha256(toc))
      for (const { name, type, offset, size, chunkDigest } of JSON.parse(String(toc)).entries) {
        if (offset === undefined) continue
        const content = gunzipSync(bytes.subarray(offset)).subarray(0, size)
        expect({ name, type, digest: sha256(content) }).toEqual({ name, type, digest: chunkDigest })
      }
    }
    const directory = work.path('lazy-files')
    await store.tsrun(['unpack', `oci-archive:${archive}`, directory])
    expectFiles(directory)
  })

  test('compression=zstd makes layers that zstd unpacks', async () => {
    const archive = work.path('zstd.tar')
    await store.tsbuild([
      '-o',
      `type=oci,dest=${archive},compression=zstd,compression-level=19`,
      context,
    ])
    const read = await unpack(archive, 'zstd')
    const { layers } = read(blob(read('index.json').manifests[0].digest))
    expect(layers[0].mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd')
    const { stdout } = await run('sh', [
      '-c',
      'zstd -dc "$0" | tar -t',
      join(work.path('zstd'), blob(layers[0].digest)),
    ])
    expect(stdout.split('\n')).toContain('sub/link')
  })

  test('-o - writes the archive to standard output, and progress elsewhere', async () => {
    const archive = work.path('piped.tar')
    const program = join(import.meta.dirname, '../../dist/cli/tsbuild.js')
    await run('sh', ['-c', '"$0" -o - "$1" > "$2"', program, context, archive], {
      env: { ...work.env, TSBUILD_ROOT: store.root },
    })
    const { stdout } = await run('tar', ['-tf', archive])
    expect(stdout.split('\n')).toContain('sub/link')
  })

  test('type=oci writes an OCI layout, named by the tag', async () => {
    const archive = work.path('oci.tar')
    const metadata = work.path('metadata.json')
    const args = ['-t', 'example.com/out:1', '--metadata-file', metadata]
    await store.tsbuild([...args, '-o', `type=oci,dest=${archive}`, context])
    const read = await unpack(archive, 'oci')
    expect(read('oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' })
    const { manifests } = read('index.json')
    expect(manifests).toHaveLength(1)
    expect(manifests[0].digest).toBe(
      JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest'],
    )
    expect(manifests[0].annotations).toMatchObject({
      'io.containerd.image.name': 'example.com/out:1',
      'org.opencontainers.image.ref.name': '1',
    })
    const manifest = read(blob(manifests[0].digest))
    expect(manifest.layers).toHaveLength(2)
    expect(read(blob(manifest.config.digest)).config).toEqual({
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Labels: { a: 'b' },
      WorkingDir: '/',
    })
  })

  test('type=docker writes what docker load reads', async () => {
    const archive = work.path('docker.tar')
    await store.tsbuild(['-t', 'out:2', '-o', `type=docker,dest=${archive}`, context])
    const read = await unpack(archive, 'docker')
    const [manifest] = read('manifest.json')
    expect(manifest.RepoTags).toEqual(['out:2'])
    expect(manifest.Layers).toHaveLength(2)
    expect(read(manifest.Config).config.Labels).toEqual({ a: 'b' })
  })

  test('--push names the image in a registry, several tags at once', async () => {
    const registry = await work.serve()
    const names = [1, 2].map(tag => `${registry.address}/outputs/pushed:${tag}`)
    const id = await store.tsbuild([...names.flatMap(n => ['-t', n]), '--push', '-q', context])
    const other = work.store('other')
    for (const name of names) {
      await other.tsbuild(['pull', '-q', name])
      expect((await other.tsbuild(['inspect', '-f', '{{.Id}}', name])).stdout).toBe(id.stdout)
    }
  })

  test('with SOURCE_DATE_EPOCH, the same files give the same image in every store', async () => {
    const files = work.write('files', {
      Dockerfile: 'FROM scratch\nCOPY --chmod=755 . /\nENV A=b\nCMD ["/sub/a"]',
      'sub/a': 'a',
      b: 'b',
    })
    const ids = []
    for (const name of ['store-a', 'store-b']) {
      const env = { SOURCE_DATE_EPOCH: '1700000000' }
      ids.push((await work.store(name).tsbuild(['-q', files], { env })).stdout)
      await delay(1100)
    }
    expect(ids[0]).toBe(ids[1])
  })

  test.each([
    [['-o', 'type=zip,dest=x'], 'zip'],
    [['-o', 'type=local'], 'needs a directory'],
    [['--push'], 'needs a name'],
    [['-o', 'type=oci,dset=x'], 'Did you mean dest=?'],
  ])('%j is refused before anything runs', async (args, message) => {
    const { code, stderr } = await store.attempt('tsbuild', [...args, context])
    expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining(message) })
  })

  test('an output that cannot be written fails with 1 and leaves no half of a file', async () => {
    const missing = join(work.path('no-such-directory'), 'out.tar')
    const { code, stderr } = await store.attempt('tsbuild', [
      ...['-o', `type=oci,dest=${missing}`, context],
    ])
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('there is no directory'),
    })
  })
})
