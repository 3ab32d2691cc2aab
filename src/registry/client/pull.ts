/**
 * Pull: an image from a registry into a content store.
 *
 * Blobs first, then the manifest, then the indexes it was found in: what is in the store never
 * names what is not, except layers that were not asked for. Every byte is verified on its way in;
 * a pull that fails leaves the blobs that were complete, and of the others what arrived: the next
 * one, of any process, fetches only the rest.
 */
import { type ContentStore, type Download, putBlob } from '../../layerfs/content/content-store.ts'
import {
  type OnBlob,
  type UntilArrived,
  whileArriving,
} from '../../layerfs/content/while-arriving.ts'
import type { Descriptor, Document } from '../../oci/descriptor.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { field } from '../../oci/json.ts'
import type { Index, Manifest } from '../../oci/manifest.ts'
import { isForeignLayer, isImageConfig } from '../../oci/media-type.ts'
import type { Platform } from '../../oci/platform.ts'
import type { Reference } from '../../oci/reference.ts'
import { streamBlob, type TakeBytes } from './blob.ts'
import type { RegistryClient } from './client.ts'
import { parallel } from './parallel.ts'
import { describeRepository, type Repository } from './request.ts'
import { type Resolved, resolveImage } from './resolve.ts'
import type { OnTransfer } from './transfer-event.ts'

export interface PullOptions {
  readonly platform: Platform
  readonly into: ContentStore
  /** `none` leaves the layers in the registry: enough to know what an image is and runs. */
  readonly layers: 'all' | 'none'
  /** Blobs at a time; default 4. */
  readonly concurrency?: number
  readonly onEvent?: OnTransfer
  /**
   * Works on layers while others arrive; begins once the config is there. It fails together with
   * the download: what stops one stops the other.
   */
  readonly use?: (image: ArrivingImage) => Promise<unknown>
  readonly signal?: AbortSignal
}

export interface ArrivingImage {
  readonly manifest: Manifest
  readonly config: ImageConfig
  readonly arrived: UntilArrived
  readonly signal: AbortSignal
}

export interface PulledImage {
  /** Of the manifest for the platform. */
  readonly descriptor: Descriptor
  readonly manifest: Document<Manifest>
  readonly config: Document<ImageConfig>
  /** The indexes that led to the manifest, outermost first. */
  readonly indexes: readonly Resolved<Index>[]
}

const defaultConcurrency = 4
const maxConfigSize = 8 * 1024 * 1024

/**
 * Throws as `resolveImage` and `streamBlob` do, and what `use` throws; `unsupported` for what is no
 * image, or has layers that no registry stores; `digest-mismatch`, leaving nothing of that blob.
 */
export async function pullImage(
  client: RegistryClient,
  reference: Reference,
  options: PullOptions,
): Promise<PulledImage> {
  const { into, onEvent } = options
  const image = await resolveImage(client, reference, { ...options, cache: into })
  const manifest = image.document
  checkImage(reference, manifest.value)

  const config = await pullConfigAndLayers(client, reference, {
    ...options,
    manifest: manifest.value,
  })
  for (const { document } of [image, ...[...image.indexes].reverse()]) {
    await putBlob(into, [document.bytes], { digest: document.digest })
    onEvent?.({ kind: 'manifest', digest: document.digest, direction: 'pull' })
  }
  return { descriptor: image.descriptor, manifest, config, indexes: image.indexes }
}

async function pullConfigAndLayers(
  client: RegistryClient,
  from: Repository,
  { manifest, use, ...options }: PullOptions & { readonly manifest: Manifest },
): Promise<Document<ImageConfig>> {
  const { digest } = manifest.config
  const blobs = [manifest.config, ...(options.layers === 'all' ? manifest.layers : [])]
  return await whileArriving({
    coming: blobs.map(blob => blob.digest),
    bring: (onBlob, signal) => pullBlobs(client, from, { ...options, blobs, onBlob, signal }),
    use: async (arrived, signal) => {
      await arrived(digest, signal)
      const config = parseImageConfig(await options.into.read(digest, maxConfigSize))
      await use?.({ manifest, config: config.value, arrived, signal })
      return config
    },
    signal: options.signal,
  })
}

export interface BlobPullOptions extends Omit<PullOptions, 'platform' | 'layers' | 'use'> {
  readonly blobs: readonly Descriptor[]
  readonly onBlob?: OnBlob
}

/**
 * Blobs of one repository into the store, several at a time, each once. Throws as `streamBlob` does,
 * and `digest-mismatch`; those that were complete by then stay.
 */
export async function pullBlobs(
  client: RegistryClient,
  from: Repository,
  { blobs, into, onEvent, onBlob, ...options }: BlobPullOptions,
): Promise<void> {
  const limit = options.concurrency ?? defaultConcurrency
  const limits = { limit, signal: options.signal }
  await parallel(uniqueBlobs(blobs), limits, async (descriptor, stop) => {
    await pullBlob(client, from, { descriptor, into, onEvent, signal: stop })
    onBlob?.(descriptor.digest)
  })
}

/** Layers and config may be the same bytes; one download is enough. */
function uniqueBlobs(descriptors: readonly Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map(blob => [blob.digest, blob])).values()]
}

function checkImage(reference: Reference, { config, layers }: Manifest): void {
  const fail = (reason: string) =>
    new OciError('unsupported', `Cannot pull "${describeRepository(reference)}": ${reason}`)
  // Docker 1.10 pushed configs without a type of their own.
  if (!isImageConfig(config.mediaType) && config.mediaType !== 'application/octet-stream') {
    throw fail(`no image: its config is "${printable(config.mediaType)}"`)
  }
  if (config.size > maxConfigSize) throw fail(`its config exceeds ${maxConfigSize} bytes`)
  // Their bytes are at URLs that the image's author chose: fetching them would send requests, and
  // with other clients sent credentials (CVE-2020-15157), wherever he likes.
  const foreign = layers.find(({ mediaType }) => isForeignLayer(mediaType))
  if (foreign !== undefined) {
    throw fail(`layer ${foreign.digest} is foreign: only its URLs are in the registry`)
  }
}

interface BlobPull {
  readonly descriptor: Descriptor
  readonly into: ContentStore
  readonly onEvent: OnTransfer | undefined
  readonly signal: AbortSignal
}

async function pullBlob(
  client: RegistryClient,
  from: Repository,
  { descriptor, into, onEvent, signal }: BlobPull,
): Promise<void> {
  // A second time, from its beginning, when what an earlier process left turns out to be damaged.
  while ((await receive(client, from, { descriptor, into, onEvent, signal })) === 'damaged');
}

async function receive(
  client: RegistryClient,
  from: Repository,
  { descriptor, into, onEvent, signal }: BlobPull,
): Promise<'received' | 'damaged'> {
  const { digest, size: total } = descriptor
  await using download = await into.download({ digest, size: total }, signal)
  if (download === undefined) {
    onEvent?.({ kind: 'blob-exists', digest, total })
    return 'received'
  }
  const start = download.received
  try {
    // All of it may be there, and only the commit was missed.
    if (start === 0 || start < total) {
      await bring(client, from, { descriptor, download, onEvent, signal })
    }
    await download.commit()
  } catch (error) {
    if (!hasCode(error, 'digest-mismatch')) throw error
    await download.discard()
    if (start > 0) return 'damaged'
    throw error
  }
  onEvent?.({ kind: 'blob-done', digest, total, direction: 'pull' })
  return 'received'
}

interface Bringing extends Omit<BlobPull, 'into'> {
  readonly download: Download
}

/** What is missing, by the thread that the download may have for it, or chunk by chunk. */
async function bring(
  client: RegistryClient,
  from: Repository,
  { descriptor, download, onEvent, signal }: Bringing,
): Promise<void> {
  const { digest, size: total } = descriptor
  const { receive, received: start } = download
  let bytes = start
  const tell = (more: number) =>
    onEvent?.({ kind: 'blob-progress', digest, bytes: bytes + more, total, direction: 'pull' })
  const take: TakeBytes | undefined =
    receive &&
    (({ descriptor: socket, left, idleMs }) =>
      receive(socket, left, { idleMs, signal, onProgress: tell }))
  const request = { descriptor, start, signal, ...field('take', take) }
  for await (const chunk of streamBlob(client, from, request)) {
    bytes += chunk.byteLength
    tell(0)
    if (chunk instanceof Uint8Array) await download.write(chunk)
  }
}
