/** Clients that people have, where they are installed. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { describeWith } from '../../support/requires.ts'
import { type Content, content, descriptorOf } from '../server/contents.ts'
import { type ServedRegistry, serveRegistry } from '../server/program.ts'

let compiled: Compiled
let folder: string
let registry: ServedRegistry
beforeAll(async () => {
  compiled = compileSources()
  folder = await mkdtemp(join(tmpdir(), 'tsregistry-clients-'))
  registry = await serveRegistry(compiled.dist, join(folder, 'root'))
}, 30_000)
afterAll(async () => {
  await registry.stop('SIGTERM')
  compiled[Symbol.dispose]()
  await rm(folder, { recursive: true, force: true })
})

function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
  return stdout
}

/** An OCI layout of one image of two layers, tagged `t`. */
async function layoutOf(directory: string): Promise<Content> {
  const tars = [tarOf('a', randomBytes(700_000)), tarOf('b', Buffer.from('hello\n'))]
  const layers = tars.map(tar => content(gzipSync(tar), mediaTypes.layerGzip))
  const config = content(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: tars.map(tar => digestOf(tar)) },
    }),
    mediaTypes.config,
  )
  const manifest = content(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: descriptorOf(config),
      layers: layers.map(descriptorOf),
    }),
    mediaTypes.manifest,
  )
  const blobs = join(directory, 'blobs/sha256')
  await mkdir(blobs, { recursive: true })
  for (const { digest, bytes } of [...layers, config, manifest]) {
    await writeFile(join(blobs, hexOf(digest)), bytes)
  }
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const annotations = { 'org.opencontainers.image.ref.name': 't' }
  const index = { schemaVersion: 2, manifests: [{ ...descriptorOf(manifest), annotations }] }
  await writeFile(join(directory, 'index.json'), JSON.stringify(index))
  return manifest
}

/** A tar of one file, as ustar has it. */
function tarOf(name: string, bytes: Buffer): Buffer {
  const header = Buffer.alloc(512)
  header.write(name, 0)
  header.write('0000644\0' + '0000000\0' + '0000000\0', 100)
  header.write(`${bytes.length.toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0        0`, 124)
  header.write('ustar\u000000', 257)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  const padding = Buffer.alloc((512 - (bytes.length % 512)) % 512)
  return Buffer.concat([header, bytes, padding, Buffer.alloc(1024)])
}

describeWith(['skopeo'], 'skopeo', () => {
  it('pushes, mounts, inspects, pulls and deletes', { timeout: 60_000 }, async () => {
    const [from, back] = [join(folder, 'from'), join(folder, 'back')]
    const manifest = await layoutOf(from)
    const at = `docker://127.0.0.1:${registry.port}`
    const copy = (...args: readonly string[]) => run('skopeo', 'copy', '--insecure-policy', ...args)
    copy('--dest-tls-verify=false', `oci:${from}:t`, `${at}/clients/skopeo:one`)
    copy('--dest-tls-verify=false', `oci:${from}:t`, `${at}/clients/again:one`)
    const inspected = JSON.parse(
      run('skopeo', 'inspect', '--tls-verify=false', `${at}/clients/again:one`),
    )
    expect(inspected.Digest).toBe(manifest.digest)
    copy('--src-tls-verify=false', `${at}/clients/skopeo:one`, `oci:${back}:t`)
    const blobs = await readdir(join(from, 'blobs/sha256'))
    expect((await readdir(join(back, 'blobs/sha256'))).sort()).toEqual(blobs.sort())
    for (const name of blobs) {
      const pulled = await readFile(join(back, 'blobs/sha256', name))
      expect(pulled.equals(await readFile(join(from, 'blobs/sha256', name)))).toBe(true)
    }
    copy(
      '--src-tls-verify=false',
      '--dest-tls-verify=false',
      ...['--format', 'v2s2', `${at}/clients/skopeo:one`, `${at}/clients/skopeo:docker`],
    )
    const tags = JSON.parse(
      run('skopeo', 'list-tags', '--tls-verify=false', `${at}/clients/skopeo`),
    )
    expect(tags.Tags).toEqual(['docker', 'one'])
    run('skopeo', 'delete', '--tls-verify=false', `${at}/clients/skopeo:one`)
    expect(() =>
      run('skopeo', 'inspect', '--tls-verify=false', `${at}/clients/skopeo:one`),
    ).toThrow(/manifest unknown|MANIFEST_UNKNOWN|Cannot find/i)
  })
})

describeWith(['podman'], 'podman', () => {
  it('pushes and pulls', { timeout: 120_000 }, async () => {
    const tar = join(folder, 'podman.tar')
    await writeFile(tar, tarOf('a', randomBytes(100_000)))
    const store = ['--root', join(folder, 'podman-root'), '--runroot', join(folder, 'podman-run')]
    const podman = (...args: readonly string[]) =>
      run('podman', ...store, '--storage-driver', 'vfs', ...args)
    const name = `127.0.0.1:${registry.port}/clients/podman:one`
    const id = podman('import', '--quiet', tar).trim().replace('sha256:', '')
    podman('push', '--quiet', '--tls-verify=false', id, name)
    podman('rmi', '--force', id)
    expect(podman('pull', '--quiet', '--tls-verify=false', name).trim()).toBe(id)
    podman('rmi', '--force', id)
  })
})
