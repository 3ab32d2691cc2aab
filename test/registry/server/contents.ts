/** Blobs and manifests made for tests, and the ways to push them. */
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import type { Algorithm } from '../../../src/oci/digest-hash.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import type { Answer, TestRegistry } from './registry-server.ts'

export interface Content {
  readonly mediaType: string
  readonly bytes: Buffer
  readonly digest: Digest
}

export function content(
  bytes: string | Uint8Array,
  mediaType: string = mediaTypes.layer,
  algorithm: Algorithm = 'sha256',
): Content {
  return { mediaType, bytes: Buffer.from(bytes), digest: digestOf(bytes, algorithm) }
}

export function descriptorOf({ mediaType, digest, bytes }: Content) {
  return { mediaType, digest, size: bytes.length }
}

export function imageOf(layers: readonly Content[], extra: object = {}): Content {
  const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }), mediaTypes.config)
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
    ...extra,
  }
  return content(JSON.stringify(document), mediaTypes.manifest)
}

export function indexOf(manifests: readonly Content[], extra: object = {}): Content {
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: manifests.map(descriptorOf),
    ...extra,
  }
  return content(JSON.stringify(document), mediaTypes.index)
}

export function pushBlob(
  registry: TestRegistry,
  repository: string,
  blob: Content,
): Promise<Answer> {
  return registry.send('POST', `/v2/${repository}/blobs/uploads/?digest=${blob.digest}`, {
    body: blob.bytes,
  })
}

export function pushManifest(
  registry: TestRegistry,
  target: { readonly repository: string; readonly reference: string },
  manifest: Content,
): Promise<Answer> {
  return registry.send('PUT', `/v2/${target.repository}/manifests/${target.reference}`, {
    headers: { 'content-type': manifest.mediaType },
    body: manifest.bytes,
  })
}

/** Starts an upload and gives its path. */
export async function startUpload(registry: TestRegistry, repository: string): Promise<string> {
  const answer = await registry.send('POST', `/v2/${repository}/blobs/uploads/`)
  const { location } = answer.headers
  if (answer.status !== 202 || location === undefined) throw new Error(`POST: ${answer.status}`)
  return location
}
