/** Uploads: end-4a, 4b, 4c (start), end-11 (mount), end-5, end-6, end-13, end-14. */
import { type Digest, isAlgorithm } from '../../oci/digest.ts'
import type { Algorithm } from '../../oci/digest-hash.ts'
import { printable } from '../../oci/errors.ts'
import { parseRepositoryName, type RepositoryName } from '../../oci/reference.ts'
import { findBlob, holdersOf, linkBlob, type StoredBlob } from '../storage/blobs.ts'
import type { RegistryStorage } from '../storage/registry-storage.ts'
import { ResourceError } from '../storage/resource-error.ts'
import {
  appendToUpload,
  type Chunk,
  cancelUpload,
  finishUpload,
  startUpload,
  uploadedSize,
  uploadWhole,
} from '../storage/uploads.ts'
import { blobType } from './blobs.ts'
import { type ChunkRange, parseChunkRange, receivedRange } from './byte-range.ts'
import { type Handler, type RegistryRequest, type Reply, single } from './exchange.ts'
import { digestFrom, type Endpoint } from './request-path.ts'

type UploadsEndpoint = Extract<Endpoint, { kind: 'uploads' }>
type UploadEndpoint = Extract<Endpoint, { kind: 'upload' }>

/** A mount, a whole blob, or the start of an upload; what cannot be mounted is uploaded. */
export const postUpload: Handler<UploadsEndpoint> = async (request, storage) => {
  const { repository } = request.endpoint
  const mount = single(request.query, 'mount')
  if (mount !== undefined) {
    const digest = digestFrom(mount)
    const mounted = await mountBlob(request, storage, digest)
    if (mounted !== undefined) return createdBlob(repository, mounted)
  }
  const digest = single(request.query, 'digest')
  if (digest !== undefined) {
    const blob = await uploadWhole(storage, repository, {
      digest: digestFrom(digest),
      bytes: request.body,
      size: sizeOf(request),
    })
    return createdBlob(repository, blob)
  }
  const { id } = await startUpload(storage, repository, algorithmHint(request.query))
  return uploadReply(202, { repository, id }, 0)
}

export const patchUpload: Handler<UploadEndpoint> = async (request, storage) => {
  const size = await appendToUpload(storage, request.endpoint, chunkOf(request))
  return uploadReply(202, request.endpoint, size)
}

export const putUpload: Handler<UploadEndpoint> = async (request, storage) => {
  const text = single(request.query, 'digest')
  if (text === undefined) {
    throw new ResourceError('invalid digest', 'Cannot finish upload: no "digest" in the query')
  }
  const digest = digestFrom(text)
  const blob = await finishUpload(storage, request.endpoint, { digest, chunk: chunkOf(request) })
  return createdBlob(request.endpoint.repository, blob)
}

export const getUpload: Handler<UploadEndpoint> = async (request, storage) =>
  uploadReply(204, request.endpoint, await uploadedSize(storage, request.endpoint))

export const deleteUpload: Handler<UploadEndpoint> = async (request, storage) => {
  await cancelUpload(storage, request.endpoint)
  return { status: 204, headers: {} }
}

/** Where an upload goes on, for replies and for the error that says where it stands. */
export function uploadHeaders(
  upload: { readonly repository: string; readonly id: string },
  size: number,
): Reply['headers'] {
  return {
    Location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
    Range: receivedRange(size),
    'Docker-Upload-UUID': upload.id,
  }
}

function uploadReply(
  status: 202 | 204,
  upload: { readonly repository: string; readonly id: string },
  size: number,
): Reply {
  const length = status === 204 ? {} : { 'Content-Length': '0' }
  return { status, headers: { ...uploadHeaders(upload, size), ...length } }
}

interface CreatedBlob extends Pick<StoredBlob, 'digest' | 'size'> {
  /** When it was mounted. */
  readonly fromRepository?: RepositoryName
}

function createdBlob(repository: RepositoryName, blob: CreatedBlob): Reply {
  const { digest } = blob
  const action = blob.fromRepository === undefined ? 'push' : 'mount'
  return {
    status: 201,
    happened: [{ ...pick(blob), action, kind: 'blob', mediaType: blobType, repository }],
    headers: {
      Location: `/v2/${repository}/blobs/${digest}`,
      'Docker-Content-Digest': digest,
      'Content-Length': '0',
    },
  }
}

function pick({ digest, size, fromRepository }: CreatedBlob) {
  return { digest, size, ...(fromRepository === undefined ? {} : { fromRepository }) }
}

/**
 * Links a blob of another repository. A source that the client may not pull is like one that has
 * not the blob: the answer tells nothing about it.
 */
async function mountBlob(
  request: RegistryRequest<UploadsEndpoint>,
  storage: RegistryStorage,
  digest: Digest,
): Promise<CreatedBlob | undefined> {
  for await (const source of mountSources(request, storage, digest)) {
    if (!request.session.may('pull', source)) continue
    const blob = await findBlob(storage, source, digest)
    if (blob === undefined) continue
    const { repository } = request.endpoint
    const isThere = (await findBlob(storage, repository, digest)) !== undefined
    if (!isThere) await request.mustFit?.(blob.size)
    if (await linkBlob(storage, repository, blob)) {
      return { digest, size: blob.size, fromRepository: source }
    }
  }
  return undefined
}

async function* mountSources(
  request: RegistryRequest<UploadsEndpoint>,
  storage: RegistryStorage,
  digest: Digest,
): AsyncGenerator<RepositoryName> {
  const from = single(request.query, 'from')
  if (from === undefined || from === '') yield* holdersOf(storage, digest)
  else yield parseSource(from)
}

function parseSource(text: string): RepositoryName {
  try {
    return parseRepositoryName(text)
  } catch (cause) {
    throw new ResourceError('invalid repository', `Cannot mount from "${printable(text)}"`, {
      cause,
    })
  }
}

function algorithmHint(query: URLSearchParams): Algorithm {
  const hint = single(query, 'digest-algorithm') ?? 'sha256'
  if (isAlgorithm(hint)) return hint
  throw new ResourceError(
    'invalid digest',
    `Cannot start upload: unsupported digest algorithm "${printable(hint, 40)}"`,
  )
}

/** Throws `invalid` when length and range speak against each other, before any byte is read. */
function chunkOf(request: RegistryRequest): Chunk {
  const range = parseChunkRange(request.header('content-range'))
  const length = request.header('content-length')
  if (range !== undefined && length !== undefined && Number(length) !== lengthOf(range)) {
    throw new ResourceError(
      'invalid size',
      `Cannot append chunk: Content-Length is ${printable(length, 40)}, Content-Range has ${lengthOf(range)} bytes`,
    )
  }
  return { bytes: request.body, range, size: sizeOf(request) }
}

/** What Node does not let a body exceed, nor end before. */
function sizeOf(request: RegistryRequest<Endpoint>): number | undefined {
  const length = request.header('content-length')
  return length === undefined ? undefined : Number(length)
}

function lengthOf(range: ChunkRange): number {
  return range.last - range.first + 1
}
