/** Small images made in a content store, for tests of what moves images about. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { ContentStore } from '../../../src/layerfs/content/content-store.ts'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { putDocument, putManifest } from '../../../src/layerfs/image/write-manifest.ts'
import type { Descriptor } from '../../../src/oci/descriptor.ts'
import { type DiffId, finishDiffId } from '../../../src/oci/digest.ts'
import { encodeImageConfig, type ImageConfig } from '../../../src/oci/image-config.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { freshDirectory } from '../content/scratch.ts'

export interface SampleImage {
  readonly target: Descriptor
  readonly config: ImageConfig
  readonly layers: readonly Descriptor[]
}

/** A tar of files by GNU tar. */
export function tarOf(files: Readonly<Record<string, string>>): Buffer {
  const directory = freshDirectory()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  const names = [...new Set(Object.keys(files).map(name => name.split('/')[0] ?? name))]
  const options = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner']
  return execFileSync('tar', ['-C', directory, ...options, '-cf', '-', ...names])
}

export function diffIdOf(tar: Uint8Array): DiffId {
  return finishDiffId(createHash('sha256').update(tar))
}

/** An image whose layers are these tars, stored as gzip. */
export async function makeImage(
  content: ContentStore,
  tars: readonly Uint8Array[],
  architecture = 'amd64',
): Promise<SampleImage> {
  const layers: Descriptor[] = []
  for (const tar of tars) {
    const { digest, size } = await putBlob(content, [gzipSync(tar)])
    layers.push({ mediaType: mediaTypes.layerGzip, digest, size })
  }
  const config: ImageConfig = {
    architecture,
    os: 'linux',
    config: { Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: tars.map(diffIdOf) },
    history: tars.map(() => ({ created_by: 'test' })),
  }
  const stored = await putDocument(encodeImageConfig(config), mediaTypes.config, content)
  return { target: await putManifest(stored, layers, content), config, layers }
}
