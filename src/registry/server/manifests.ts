/** Manifests: end-3 (pull), end-7a, 7b (push), end-9 (delete). */
import { digestOf } from '../../oci/digest.ts'
import { parseTag, type RepositoryName, type Tag } from '../../oci/reference.ts'
import {
  deleteManifest as deleteStored,
  type ManifestPush,
  pushManifest,
  readManifest,
} from '../storage/manifests.ts'
import { ResourceError } from '../storage/resource-error.ts'
import { findManifest, type StoredManifest } from '../storage/stored-manifest.ts'
import type { TagCondition } from '../storage/tag-terms.ts'
import { deleteTag } from '../storage/tags.ts'
import {
  author,
  entityTags,
  type Handler,
  type Happening,
  listsDigest,
  type RegistryRequest,
  type Reply,
} from './exchange.ts'
import { type Endpoint, refuse } from './request-path.ts'

type ManifestEndpoint = Extract<Endpoint, { kind: 'manifest' }>

/** Spec: manifests SHOULD be accepted up to 4 MB. Clients read no more than 4 MiB. */
const maxManifestSize = 4 * 1024 * 1024

const smallManifestSize = 64 * 1024

/** Several times what the spec asks for, few enough for one request's work. */
const maxTags = 100

export const getManifest: Handler<ManifestEndpoint> = async (request, storage) => {
  const { repository, reference } = request.endpoint
  return manifestReply(request, await readManifest(storage, repository, reference))
}

export function manifestReply(
  request: RegistryRequest<ManifestEndpoint>,
  manifest: StoredManifest,
): Reply {
  const { method, endpoint } = request
  const { repository, reference } = endpoint
  const headers = manifestHeaders(manifest)
  if (listsDigest(request.header('if-none-match'), manifest.digest)) {
    return { status: 304, headers }
  }
  // Who asks for the head has not pulled yet.
  if (method === 'HEAD') return { status: 200, headers, body: manifest.bytes }
  const tag = reference.kind === 'tag' ? reference.tag : undefined
  const happened = [manifestHappening('pull', repository, { manifest, tag })]
  return { status: 200, headers, body: manifest.bytes, happened }
}

function manifestHappening(
  action: 'push' | 'pull',
  repository: RepositoryName,
  { manifest, tag }: { readonly manifest: StoredManifest; readonly tag?: Tag | undefined },
): Happening {
  const { digest, mediaType, bytes } = manifest
  const size = bytes.length
  return { action, kind: 'manifest', repository, digest, mediaType, size, tag, manifest: bytes }
}

export const putManifest: Handler<ManifestEndpoint> = async (request, storage) => {
  const { repository } = request.endpoint
  const tags = tagParameters(request)
  const push = pushOf(request, tags)
  using body = await readManifestBody(request)
  using _ = body.isLarge ? await request.reserveMemory('parsed') : undefined
  if (request.mustFit !== undefined) {
    const digest = push.digest ?? digestOf(body.bytes)
    const found = await findManifest(storage, repository, digest)
    if (found === undefined) await request.mustFit(body.bytes.length)
  }
  const manifest = await pushManifest(storage, repository, { ...push, bytes: body.bytes })
  const { digest, subject } = manifest
  const names = push.tags.length === 0 ? [undefined] : push.tags
  return {
    status: 201,
    happened: names.map(tag => manifestHappening('push', repository, { manifest, tag })),
    headers: {
      Location: `/v2/${repository}/manifests/${digest}`,
      'Docker-Content-Digest': digest,
      'Content-Length': '0',
      ...(tags.length === 0 ? {} : { 'OCI-Tag': tags.join(', ') }),
      ...(subject === undefined ? {} : { 'OCI-Subject': subject }),
    },
  }
}

/** A tag is removed alone; a digest with all its tags. */
export const deleteManifest: Handler<ManifestEndpoint> = async (request, storage) => {
  const { repository, reference } = request.endpoint
  const by = author(request.session)
  if (reference.kind === 'tag') await deleteTag(storage, repository, { ...reference, ...by })
  else await deleteStored(storage, repository, { ...reference, ...by })
  const gone = { action: 'delete', kind: 'manifest', repository } as const
  const { kind: _, ...what } = reference
  return { status: 202, headers: { 'Content-Length': '0' }, happened: [{ ...gone, ...what }] }
}

/** A tag may move at any time: caches must ask. */
function manifestHeaders(manifest: StoredManifest): Reply['headers'] {
  return {
    'Cache-Control': 'private, no-cache',
    'Content-Type': manifest.mediaType,
    'Docker-Content-Digest': manifest.digest,
    ETag: `"${manifest.digest}"`,
  }
}

/** All of a push but its bytes, checked before any of them is read. */
function pushOf(
  request: RegistryRequest<ManifestEndpoint>,
  tags: readonly Tag[],
): Omit<ManifestPush, 'bytes'> {
  const { repository, reference } = request.endpoint
  const condition = conditionOf(request)
  const contentType = contentTypeOf(request.header('content-type'))
  return {
    contentType,
    ...author(request.session),
    mayOverwrite: request.session.may('overwrite', repository),
    tags: reference.kind === 'tag' ? [reference.tag] : tags,
    ...(reference.kind === 'digest' ? { digest: reference.digest } : {}),
    ...(condition === undefined ? {} : { condition }),
  }
}

/** `?tag=` of a push by digest (end-7b), each once. */
function tagParameters(request: RegistryRequest<ManifestEndpoint>): Tag[] {
  const names = [...new Set(request.query.getAll('tag'))]
  if (names.length > 0 && request.endpoint.reference.kind === 'tag') {
    throw new ResourceError('invalid parameter', 'Cannot use "tag": the path names a tag already')
  }
  if (names.length > maxTags) {
    throw new ResourceError('too-large parameter', `Cannot set more than ${maxTags} tags at once`)
  }
  return names.map(name => refuse('tag', () => parseTag(name)))
}

/**
 * Makes a push an atomic compare-and-swap of its tag: `If-None-Match: *` creates only, `If-Match`
 * replaces only what the client has seen.
 */
function conditionOf(request: RegistryRequest): TagCondition | undefined {
  const ifNoneMatch = request.header('if-none-match')
  if (ifNoneMatch?.trim() === '*') return { kind: 'absent' }
  if (ifNoneMatch !== undefined) {
    throw new ResourceError('invalid parameter', 'Cannot use If-None-Match: only "*" on a push')
  }
  const ifMatch = request.header('if-match')
  if (ifMatch === undefined) return undefined
  return { kind: 'points-at', digests: ifMatch.trim() === '*' ? [] : entityTags(ifMatch) }
}

/** The type without parameters. */
function contentTypeOf(header: string | undefined): string {
  return header?.split(';', 1)[0]?.trim() ?? ''
}

interface ManifestBody extends Disposable {
  readonly bytes: Uint8Array
  readonly isLarge: boolean
}

/**
 * Refuses by Content-Length before reading, and while reading when the length was not said. Large
 * ones wait for memory; the usual few KiB never wait behind them.
 */
async function readManifestBody(request: RegistryRequest): Promise<ManifestBody> {
  if (Number(request.header('content-length') ?? 0) > maxManifestSize) throw tooLarge()
  const chunks: Uint8Array[] = []
  let size = 0
  let memory: Disposable | undefined
  try {
    for await (const chunk of request.body) {
      size += chunk.length
      if (size > maxManifestSize) throw tooLarge()
      if (size > smallManifestSize) memory ??= await request.reserveMemory('received')
      chunks.push(chunk)
    }
  } catch (error) {
    memory?.[Symbol.dispose]()
    throw error
  }
  return {
    bytes: Buffer.concat(chunks),
    isLarge: memory !== undefined,
    [Symbol.dispose]: () => memory?.[Symbol.dispose](),
  }
}

function tooLarge(): ResourceError {
  return new ResourceError(
    'too-large manifest',
    `Cannot store manifest: it has more than ${maxManifestSize} bytes`,
  )
}
