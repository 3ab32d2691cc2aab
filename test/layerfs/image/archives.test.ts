import { execFileSync } from 'node:child_process'
import { createReadStream, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import type { ContentStore } from '../../../src/layerfs/content/content-store.ts'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import {
  type ArchiveFormat,
  exportArchive,
  exportLayout,
} from '../../../src/layerfs/image/export-image.ts'
import { importArchive, importLayout } from '../../../src/layerfs/image/import-image.ts'
import { importRootfs } from '../../../src/layerfs/image/import-rootfs.ts'
import { putDocument } from '../../../src/layerfs/image/write-manifest.ts'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import { encodeImageConfig, parseImageConfig } from '../../../src/oci/image-config.ts'
import { parseManifest } from '../../../src/oci/manifest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { formatReference, parseReference } from '../../../src/oci/reference.ts'
import { missing } from '../../support/requires.ts'
import { readBlob } from '../content/content-store.contract.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'
import { diffIdOf, makeImage, tarOf } from './sample-image.ts'

afterAll(removeDirectories)

const reference = parseReference('localhost:5000/team/app:1.2')
const tars = [tarOf({ 'etc/os-release': 'ID=test' }), tarOf({ 'app/main': 'run' })]

async function* pieces(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function archiveOf(content: ContentStore, format: ArchiveFormat): Promise<Buffer> {
  const { target } = await makeImage(content, tars)
  const parts: Uint8Array[] = []
  const request = { images: [{ reference, target }], content, format }
  for await (const part of exportArchive(request)) parts.push(part)
  return Buffer.concat(parts)
}

function saved(bytes: Uint8Array): string {
  const path = join(freshDirectory(), 'image.tar')
  writeFileSync(path, bytes)
  return path
}

/** The tar of a directory's files, by GNU tar. */
function packed(files: Readonly<Record<string, string | Uint8Array>>): Buffer {
  const directory = freshDirectory()
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(join(directory, name, '..'), { recursive: true })
    writeFileSync(join(directory, name), bytes)
  }
  return execFileSync('tar', ['-C', directory, '-cf', '-', '.'], { maxBuffer: 1 << 26 })
}

async function expectComplete(content: ContentStore): Promise<void> {
  for (const tar of tars) {
    const blob = await readBlob(content, digestOf(gzipSync(tar)))
    expect(blob.equals(gzipSync(tar))).toBe(true)
  }
}

describe('exportArchive', () => {
  it('writes what GNU tar lists: members sorted by name, no times, no owners', async () => {
    const path = saved(await archiveOf(memoryStore(), 'docker'))
    const listed = execFileSync('tar', ['--full-time', '--utc', '-tvf', path], { encoding: 'utf8' })
    const lines = listed.trimEnd().split('\n')
    const names = lines.map(line => line.split(' ').at(-1) ?? '')
    expect(names).toEqual([...names].sort())
    expect(names.slice(-3)).toEqual(['index.json', 'manifest.json', 'oci-layout'])
    for (const line of lines) expect(line).toMatch(/^[-d]rw.r-.r-. 0\/0 .* 1970-01-01 00:00:00 /)
  })

  it('gives the same bytes for the same image, whichever store it is in', async () => {
    const [one, two] = await Promise.all([1, 2].map(() => archiveOf(memoryStore(), 'docker')))
    expect(one?.equals(two ?? Buffer.alloc(0))).toBe(true)
  })

  it('has the manifest.json that `docker load` reads: Config, RepoTags, Layers', async () => {
    const path = saved(await archiveOf(memoryStore(), 'docker'))
    const text = execFileSync('tar', ['-xOf', path, 'manifest.json'], { encoding: 'utf8' })
    const [entry, ...more] = JSON.parse(text)
    expect(more).toEqual([])
    expect(entry.RepoTags).toEqual(['localhost:5000/team/app:1.2'])
    expect(entry.Layers).toEqual(tars.map(tar => `blobs/sha256/${hexOf(digestOf(gzipSync(tar)))}`))
    const config = execFileSync('tar', ['-xOf', path, entry.Config])
    expect(parseImageConfig(config).value.rootfs.diff_ids).toEqual(tars.map(diffIdOf))
  })

  it('lists an image with two names once, with both', async () => {
    const content = memoryStore()
    const { target } = await makeImage(content, tars)
    const other = parseReference('app:latest')
    const images = [reference, other].map(name => ({ reference: name, target }))
    const parts: Uint8Array[] = []
    for await (const part of exportArchive({ images, content, format: 'docker' })) parts.push(part)
    const bytes = Buffer.concat(parts)
    const text = execFileSync('tar', ['-xOf', saved(bytes), 'manifest.json'], { encoding: 'utf8' })
    expect(JSON.parse(text)).toMatchObject([
      { RepoTags: ['localhost:5000/team/app:1.2', 'app:latest'] },
    ])
    const names = (await importArchive(pieces(bytes), memoryStore())).map(image => image.reference)
    expect(names).toEqual([reference, other])
  })

  it('refuses, before the first byte, an image whose blob is missing, naming it', async () => {
    const content = memoryStore()
    const { target, layers } = await makeImage(content, tars)
    const missing = layers[1]?.digest ?? target.digest
    await content.remove(missing)
    const archive = exportArchive({ images: [{ target }], content, format: 'oci' })
    await expect(archive.next()).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining(missing),
      hint: expect.any(String),
    })
  })

  it('refuses an index for docker, which can say one platform only', async () => {
    const content = memoryStore()
    const { target } = await makeImage(content, tars)
    const document = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [target] }
    const bytes = Buffer.from(JSON.stringify(document))
    const index = await putDocument(bytes, mediaTypes.index, content)
    const archive = exportArchive({ images: [{ target: index }], content, format: 'docker' })
    await expect(archive.next()).rejects.toMatchObject({ code: 'unsupported' })
  })
})

describe('importArchive', () => {
  it.each(['oci', 'docker'] as const)('brings back an image exported as %s', async format => {
    const bytes = await archiveOf(memoryStore(), format)
    const content = memoryStore()
    const [image, ...more] = await importArchive(pieces(bytes), content)
    expect(more).toEqual([])
    expect(image && formatReference(image.reference ?? reference)).toBe(formatReference(reference))
    expect(image?.target.digest).toBe((await makeImage(memoryStore(), tars)).target.digest)
    await expectComplete(content)
  })

  it('reads an archive that is gzip, in pieces of any size', async () => {
    const bytes = gzipSync(await archiveOf(memoryStore(), 'oci'))
    for (const size of [1, 7, 100_000]) {
      const content = memoryStore()
      expect(await importArchive(pieces(bytes, size), content)).toHaveLength(1)
      await expectComplete(content)
    }
  })

  it('keeps an index with the manifests that the archive has', async () => {
    const content = memoryStore()
    const amd = await makeImage(content, tars, 'amd64')
    const arm = await makeImage(content, tars, 'arm64')
    const manifests = [amd.target, arm.target]
    const document = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
    const bytes = Buffer.from(JSON.stringify(document))
    const target = await putDocument(bytes, mediaTypes.index, content)
    await content.remove(arm.target.digest)
    const parts: Uint8Array[] = []
    const request = { images: [{ reference, target }], content, format: 'oci' } as const
    for await (const part of exportArchive(request)) parts.push(part)
    const into = memoryStore()
    const [image] = await importArchive(pieces(Buffer.concat(parts)), into)
    expect(image?.target.digest).toBe(target.digest)
    expect(await into.find(amd.target.digest)).toBeDefined()
  })

  it('reads a `docker save` from before OCI layouts: plain layers, and links for repeated ones', async () => {
    const [base = Buffer.alloc(0), app = Buffer.alloc(0)] = tars
    const config = encodeImageConfig({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [base, app, base].map(diffIdOf) },
      history: [],
    })
    const directory = freshDirectory()
    for (const [name, bytes] of Object.entries({ one: base, two: app })) {
      mkdirSync(join(directory, name))
      writeFileSync(join(directory, name, 'layer.tar'), bytes)
      writeFileSync(join(directory, name, 'VERSION'), '1.0')
    }
    mkdirSync(join(directory, 'three'))
    symlinkSync('../one/layer.tar', join(directory, 'three', 'layer.tar'))
    writeFileSync(join(directory, 'config.json'), config)
    const Layers = ['one', 'two', 'three'].map(name => `${name}/layer.tar`)
    const manifest = [{ Config: 'config.json', RepoTags: ['app:1', 'app:2'], Layers }]
    writeFileSync(join(directory, 'manifest.json'), JSON.stringify(manifest))
    const bytes = execFileSync('tar', ['-C', directory, '-cf', '-', '.'])
    const content = memoryStore()
    const images = await importArchive(pieces(bytes), content)
    expect(images.map(image => image.reference)).toEqual(['app:1', 'app:2'].map(parseReference))
    const target = images[0]?.target
    if (target === undefined) throw new Error('expected an image')
    const { value } = parseManifest(await content.read(target.digest), target.mediaType)
    expect(value).toMatchObject({
      kind: 'manifest',
      config: { digest: digestOf(config) },
      layers: [base, app, base].map(tar => ({
        mediaType: mediaTypes.layer,
        digest: digestOf(tar),
      })),
    })
  })

  it.each([
    ['no tar', Buffer.from('hello, this is no archive'), 'invalid'],
    ['an empty file', Buffer.alloc(0), 'invalid'],
    ['a tar of something else', tars[0] ?? Buffer.alloc(0), 'invalid'],
    [
      'a damaged gzip',
      Buffer.concat([gzipSync(tars[0] ?? ''), Buffer.from('x')]).subarray(0, 60),
      'invalid',
    ],
  ])('refuses %s', async (_name, bytes, code) => {
    await expect(importArchive(pieces(bytes), memoryStore())).rejects.toMatchObject({ code })
  })

  it('refuses a blob that is not what its name says', async () => {
    const bytes = packed({ [`blobs/sha256/${'0'.repeat(64)}`]: 'other bytes', 'index.json': '{}' })
    await expect(importArchive(pieces(bytes), memoryStore())).rejects.toMatchObject({
      code: 'digest-mismatch',
    })
  })

  it('refuses an archive that lacks a blob of its image, naming it', async () => {
    const content = memoryStore()
    const { target } = await makeImage(content, tars)
    const manifest = await content.read(target.digest)
    const bytes = packed({
      'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
      'index.json': JSON.stringify({ schemaVersion: 2, manifests: [target] }),
      [`blobs/sha256/${hexOf(target.digest)}`]: manifest,
    })
    await expect(importArchive(pieces(bytes), memoryStore())).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('not in the archive'),
    })
  })

  it('refuses a truncated archive, and leaves no open ingest', async () => {
    const bytes = await archiveOf(memoryStore(), 'oci')
    const cut = bytes.subarray(0, 1200)
    await expect(importArchive(pieces(cut), memoryStore())).rejects.toMatchObject({
      code: 'invalid',
    })
  })

  it('never uses a name of the archive as a path', async () => {
    const bytes = packed({ 'index.json': '{"schemaVersion":2,"manifests":[]}' })
    const climbing = execFileSync('tar', [
      '--transform=s,index,../../escaped,',
      '-P',
      '-cf',
      '-',
      '-C',
      '/',
      'etc/hostname',
    ])
    expect(await importArchive(pieces(bytes), memoryStore())).toEqual([])
    await expect(importArchive(pieces(climbing), memoryStore())).rejects.toMatchObject({
      code: 'invalid',
    })
  })
})

describe('exportLayout and importLayout', () => {
  it('bring an image from store to store through a directory', async () => {
    const content = memoryStore()
    const { target } = await makeImage(content, tars)
    const directory = join(freshDirectory(), 'layout')
    await exportLayout(directory, { images: [{ reference, target }], content, format: 'oci' })
    expect(JSON.parse(readFileSync(join(directory, 'oci-layout'), 'utf8'))).toEqual({
      imageLayoutVersion: '1.0.0',
    })
    const into = memoryStore()
    expect(await importLayout(directory, into)).toMatchObject([
      { reference, target: { digest: target.digest } },
    ])
    await expectComplete(into)
  })

  it('importLayout() refuses a directory that is none', async () => {
    await expect(importLayout(freshDirectory(), memoryStore())).rejects.toMatchObject({
      code: 'invalid',
    })
  })

  it('importLayout() refuses a blob that was changed', async () => {
    const content = memoryStore()
    const { target, layers } = await makeImage(content, tars)
    const directory = freshDirectory()
    await exportLayout(directory, { images: [{ target }], content, format: 'oci' })
    const [layer] = layers
    if (layer === undefined) throw new Error('expected a layer')
    writeFileSync(join(directory, 'blobs', 'sha256', hexOf(layer.digest)), 'changed')
    await expect(importLayout(directory, memoryStore())).rejects.toMatchObject({
      code: 'digest-mismatch',
    })
  })

  it.skipIf(missing(['skopeo']) !== undefined)(
    'skopeo reads what we write, and we read what it writes (needs skopeo)',
    async () => {
      const content = memoryStore()
      const { target } = await makeImage(content, tars)
      const directory = freshDirectory()
      await exportLayout(join(directory, 'ours'), { images: [{ target }], content, format: 'oci' })
      const docker = saved(await archiveOf(memoryStore(), 'docker'))
      const copy = (from: string, to: string) =>
        execFileSync('skopeo', ['copy', '--insecure-policy', from, to], { stdio: 'pipe' })
      copy(`oci:${join(directory, 'ours')}`, `docker-archive:${join(directory, 'a.tar')}:x/y:z`)
      copy(`docker-archive:${docker}`, `oci-archive:${join(directory, 'b.tar')}:x/y:z`)
      for (const name of ['a.tar', 'b.tar']) {
        const images = await importArchive(createReadStream(join(directory, name)), memoryStore())
        expect(images).toMatchObject([{ reference: { repository: 'x/y', tag: 'z' } }])
      }
    },
  )
})

describe('importRootfs', () => {
  it('makes an image of one layer from a gzip tar, whose bytes are the layer', async () => {
    const [tar = Buffer.alloc(0)] = tars
    const mediaType = mediaTypes.layerGzip
    const content = memoryStore()
    const config = { architecture: 'amd64', os: 'linux', config: { Cmd: ['sh'] } }
    const packed = gzipSync(tar)
    const target = await importRootfs(pieces(packed), config, content)
    const { value } = parseManifest(await content.read(target.digest), target.mediaType)
    if (value.kind !== 'manifest') throw new Error('expected a manifest')
    expect(value.layers).toMatchObject([{ mediaType, digest: digestOf(packed) }])
    const image = parseImageConfig(await content.read(value.config.digest)).value
    expect(image).toMatchObject({ ...config, rootfs: { diff_ids: [diffIdOf(tar)] } })
  })

  it.each([
    ['a plain tar', (tar: Buffer) => tar],
    ['an xz, which no registry takes', (tar: Buffer) => execFileSync('xz', ['-c'], { input: tar })],
  ])('packs %s with gzip', async (_name, pack) => {
    const [tar = Buffer.alloc(0)] = tars
    const content = memoryStore()
    const config = { architecture: 'amd64', os: 'linux', config: {} }
    const target = await importRootfs(pieces(pack(tar)), config, content)
    const { value } = parseManifest(await content.read(target.digest), target.mediaType)
    if (value.kind !== 'manifest') throw new Error('expected a manifest')
    const [layer] = value.layers
    expect(layer?.mediaType).toBe(mediaTypes.layerGzip)
    expect(gunzipSync(await readBlob(content, layer?.digest ?? target.digest)).equals(tar)).toBe(
      true,
    )
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['no tar', Buffer.alloc(2000, 'x')],
    ['half a tar', tars[0]?.subarray(0, 700) ?? Buffer.alloc(0)],
  ])('refuses %s', async (_name, bytes) => {
    const config = { architecture: 'amd64', os: 'linux', config: {} }
    await expect(importRootfs(pieces(bytes), config, memoryStore())).rejects.toMatchObject({
      code: 'invalid',
    })
  })
})
