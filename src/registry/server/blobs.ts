/** Blobs: end-2 (pull), end-10 (delete). */
import type { RepositoryName } from '../../oci/reference.ts'
import {
  findBlob,
  holdBlob,
  openBlob,
  type StoredBlob,
  unknownBlob,
  unlinkBlob,
} from '../storage/blobs.ts'
import type { ObjectRange } from '../storage/object-store.ts'
import { bytesOf, pullBlob } from '../storage/pull-blob.ts'
import { parseByteRange } from './byte-range.ts'
import {
  entityTags,
  type Handler,
  type Happening,
  listsDigest,
  type RegistryRequest,
  type Reply,
  type ReplyBody,
} from './exchange.ts'
import type { Endpoint } from './request-path.ts'

type BlobEndpoint = Extract<Endpoint, { kind: 'blob' }>

export const getBlob: Handler<BlobEndpoint> = async (request, storage) => {
  const { repository, digest } = request.endpoint
  if (wantsAll(request)) {
    const pulled = await pullBlob(storage, repository, digest)
    if (pulled === undefined) throw unknownBlob(repository, digest)
    return bytesReply(request, pulled.blob, async () => pulled.bytes)
  }
  const blob = await findBlob(storage, repository, digest)
  if (blob === undefined) throw unknownBlob(repository, digest)
  const headers = blobHeaders(blob)
  if (listsDigest(request.header('if-none-match'), digest)) return { status: 304, headers }
  const { objects } = storage
  if (request.isRedirected && objects.urlOf !== undefined) {
    // Nobody is sent to bytes that are gone: below they may be found elsewhere.
    const isThere = (await objects.size(blob.key)) === blob.size
    if (isThere) {
      const location = await objects.urlOf(blob.key, redirectSeconds)
      return { ...redirectTo(location, headers), happened: [pullOf(repository, blob)] }
    }
  }
  return bytesReply(request, blob, range =>
    range === undefined ? bytesOf(storage, blob) : openBlob(storage, blob, range),
  )
}

/** As almost every client does: nothing but the blob's own being there decides what it gets. */
function wantsAll({ header, isRedirected }: RegistryRequest): boolean {
  return !isRedirected && header('range') === undefined && header('if-none-match') === undefined
}

type NamedBytes = Pick<StoredBlob, 'digest' | 'size'>

/** The blob, or what of it the client asks for; `open` gives that. */
export async function bytesReply(
  { header, endpoint }: Pick<RegistryRequest<BlobEndpoint>, 'header' | 'endpoint'>,
  blob: NamedBytes,
  open: (range?: ObjectRange) => Promise<ReplyBody>,
): Promise<Reply> {
  const headers = blobHeaders(blob)
  const happened = [pullOf(endpoint.repository, blob)]
  const answer = parseByteRange(rangeFor(blob, header), blob.size)
  switch (answer.kind) {
    case 'unsatisfiable':
      return { status: 416, headers: { 'Content-Range': `bytes */${blob.size}` } }
    case 'part': {
      const { start, end } = answer.range
      return {
        status: 206,
        headers: {
          ...headers,
          'Content-Range': `bytes ${start}-${end - 1}/${blob.size}`,
          'Content-Length': String(end - start),
        },
        body: await open(answer.range),
        // Of a blob that is fetched in parts only the first is a pull.
        ...(start === 0 ? { happened } : {}),
      }
    }
    case 'whole': {
      const body = await open()
      return { status: 200, headers: withLength(headers, blob), body, happened }
    }
  }
}

function pullOf(repository: RepositoryName, { digest, size }: NamedBytes): Happening {
  return { action: 'pull', kind: 'blob', repository, mediaType: blobType, digest, size }
}

/** Long enough to begin; what is under way goes on after it. */
const redirectSeconds = 20 * 60

/** Until the address expires, and to nobody else, since whoever has it may read the blob. */
function redirectTo(location: string, headers: Reply['headers']): Reply {
  return {
    status: 307,
    headers: {
      ...headers,
      Location: location,
      'Cache-Control': 'no-store',
      'Content-Length': '0',
    },
  }
}

/** A client that is told here that the blob is there will not upload it: the answer is a promise. */
export const headBlob: Handler<BlobEndpoint> = async (request, storage) => {
  const { repository, digest } = request.endpoint
  const blob = await holdBlob(storage, repository, { digest })
  if (blob === undefined) throw unknownBlob(repository, digest)
  return headOf(request, blob)
}

export function headOf({ header }: Pick<RegistryRequest, 'header'>, blob: NamedBytes): Reply {
  const headers = blobHeaders(blob)
  const isKnown = listsDigest(header('if-none-match'), blob.digest)
  return isKnown ? { status: 304, headers } : { status: 200, headers: withLength(headers, blob) }
}

export const deleteBlob: Handler<BlobEndpoint> = async (request, storage) => {
  const { repository, digest } = request.endpoint
  await unlinkBlob(storage, repository, digest)
  const happened = [{ action: 'delete', kind: 'blob', repository, digest }] as const
  return { status: 202, headers: { 'Content-Length': '0' }, happened }
}

/** `If-Range` with another entity's tag asks for the whole. */
function rangeFor(
  blob: NamedBytes,
  header: (name: string) => string | undefined,
): string | undefined {
  const ifRange = header('if-range')
  const applies = ifRange === undefined || entityTags(ifRange).includes(blob.digest)
  return applies ? header('range') : undefined
}

/** What is known of any blob. */
export const blobType = 'application/octet-stream'

/**
 * A blob is whatever a client pushed: never shown by a browser as a page of this site. Content under
 * a digest never changes; who may see it can, so only the client itself may keep it.
 */
function blobHeaders(blob: NamedBytes): Reply['headers'] {
  return {
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'private, max-age=31536000, immutable',
    'Content-Disposition': 'attachment',
    'Content-Type': blobType,
    'Docker-Content-Digest': blob.digest,
    ETag: `"${blob.digest}"`,
  }
}

function withLength(headers: Reply['headers'], blob: NamedBytes): Reply['headers'] {
  return { ...headers, 'Content-Length': String(blob.size) }
}
