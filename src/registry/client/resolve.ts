/**
 * Resolving: a reference to the manifest it names, verified.
 *
 * A tag is asked for with HEAD first: it does not count against download limits, and when the
 * manifest it names is already here nothing more is fetched. The GET that follows is by digest, so
 * a tag that moves in between cannot mix two images.
 */
import type { BlobReader } from '../../layerfs/content/content-store.ts'
import type { Descriptor, Document } from '../../oci/descriptor.ts'
import { algorithmOf, type Digest, digestOf, parseDigest } from '../../oci/digest.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { type Index, type Manifest, parseManifest, selectManifest } from '../../oci/manifest.ts'
import { acceptedManifests, isIndex, isManifest } from '../../oci/media-type.ts'
import type { Platform } from '../../oci/platform.ts'
import { formatReference, type Reference } from '../../oci/reference.ts'
import type { RegistryClient } from './client.ts'
import { RegistryError } from './registry-error.ts'
import { describeRepository, type Repository, sendRequest } from './request.ts'
import { retrying } from './retry.ts'
import type { OnTransfer } from './transfer-event.ts'
import { type HttpResponse, readBody } from './transport.ts'

/** The limit of the other registries and clients. */
export const maxManifestSize = 4 * 1024 * 1024

/** An index may name indexes; this deep we follow. */
const maxIndexDepth = 4

export interface ResolveOptions {
  /** Where manifests are looked for before they are fetched by digest. */
  readonly cache?: BlobReader
  readonly onEvent?: OnTransfer
  readonly signal?: AbortSignal
}

export interface Resolved<T extends Manifest | Index = Manifest | Index> {
  readonly descriptor: Descriptor
  readonly document: Document<T>
}

/**
 * The manifest or index that `reference` names. Throws `not-found`, `digest-mismatch` when the
 * bytes are not what was asked for or announced, `too-large` above 4 MiB, `invalid`,
 * `unsupported` for schema 1, and what {@link sendRequest} throws.
 */
export async function resolveReference(
  client: RegistryClient,
  reference: Reference,
  options: ResolveOptions = {},
): Promise<Resolved> {
  options.onEvent?.({ kind: 'resolving', reference: formatReference(reference) })
  const known =
    reference.digest === undefined ? await askTag(client, reference, options) : undefined
  const digest = reference.digest ?? known?.digest
  if (digest === undefined) return fetchManifest(client, reference, options)
  const wanted = { digest, ...(known === undefined ? {} : { mediaType: known.mediaType }) }
  return findManifest(client, reference, { ...options, wanted })
}

/**
 * As {@link resolveReference}, through indexes to the manifest for `platform`. Throws `not-found`,
 * naming the platforms that there are. A reference to a manifest is taken as it is: whoever names
 * one image means it.
 */
export async function resolveImage(
  client: RegistryClient,
  reference: Reference,
  options: ResolveOptions & { readonly platform: Platform },
): Promise<Resolved<Manifest> & { readonly indexes: readonly Resolved<Index>[] }> {
  const indexes: Resolved<Index>[] = []
  let resolved = await resolveReference(client, reference, options)
  while (hasIndex(resolved)) {
    indexes.push(resolved)
    if (indexes.length > maxIndexDepth) {
      throw new OciError(
        'invalid',
        `Cannot resolve "${formatReference(reference)}": indexes nested deeper than ${maxIndexDepth}`,
      )
    }
    const wanted = selectManifest(resolved.document.value, options.platform)
    resolved = await findManifest(client, reference, { ...options, wanted })
    resolved = { ...resolved, descriptor: { ...wanted, ...resolved.descriptor } }
  }
  return { ...(resolved as Resolved<Manifest>), indexes }
}

function hasIndex(resolved: Resolved): resolved is Resolved<Index> {
  return resolved.document.value.kind === 'index'
}

interface Wanted {
  readonly digest: Digest
  readonly mediaType?: string
}

/** From the cache, where it is there, undamaged; else from the registry. */
async function findManifest(
  client: RegistryClient,
  repository: Repository,
  options: ResolveOptions & { readonly wanted: Wanted },
): Promise<Resolved> {
  const { cache, wanted } = options
  const bytes = await cache?.read(wanted.digest, maxManifestSize).catch(ignoreUnusable)
  if (bytes === undefined) return fetchManifest(client, repository, options)
  const action = actionOf(repository, wanted.digest)
  return resolvedFrom(bytes, { mediaType: wanted.mediaType ?? '', digest: wanted.digest, action })
}

function ignoreUnusable(error: unknown): undefined {
  const codes = ['not-found', 'digest-mismatch', 'too-large'] as const
  if (!codes.some(code => hasCode(error, code))) throw error
}

/** `undefined` when the registry does not say, or says it only to GET. */
async function askTag(
  client: RegistryClient,
  reference: Reference,
  { signal }: ResolveOptions,
): Promise<{ digest: Digest; mediaType: string } | undefined> {
  try {
    await using response = await requestManifest(client, reference, { method: 'HEAD', signal })
    const digest = announcedDigest(response)
    return digest === undefined ? undefined : { digest, mediaType: mediaTypeOf(response) }
  } catch (error) {
    // An answer to HEAD has no body: GET tells why. But not of an outage, which was retried.
    const isAnswer = error instanceof RegistryError && !hasCode(error, 'unavailable')
    if (!isAnswer) throw error
    return undefined
  }
}

/** A manifest whose body breaks off is fetched again: it is too small to resume. */
function fetchManifest(
  client: RegistryClient,
  reference: Repository & Partial<Reference>,
  options: ResolveOptions & { readonly wanted?: Wanted },
): Promise<Resolved> {
  const attempt = () => fetchManifestOnce(client, reference, options)
  return retrying(client.retry, attempt, options.signal)
}

async function fetchManifestOnce(
  client: RegistryClient,
  reference: Repository & Partial<Reference>,
  { wanted, signal }: ResolveOptions & { readonly wanted?: Wanted },
): Promise<Resolved> {
  const request = { method: 'GET', onFailure: 'once', signal, digest: wanted?.digest } as const
  await using response = await requestManifest(client, reference, request)
  const action = actionOf(reference, wanted?.digest)
  const bytes = await readBody(response, { action, limit: maxManifestSize })
  const digest = wanted?.digest ?? announcedDigest(response) ?? digestOf(bytes)
  const actual = digestOf(bytes, algorithmOf(digest))
  if (actual !== digest) {
    throw new OciError('digest-mismatch', `Cannot ${action}: expected ${digest}, got ${actual}`)
  }
  const mediaType = mediaTypeOf(response) || (wanted?.mediaType ?? '')
  return resolvedFrom(bytes, { mediaType, digest, action })
}

interface Fetched {
  /** Verified by the caller; may be of another algorithm than the parser's. */
  readonly digest: Digest
  readonly mediaType: string
  readonly action: string
}

function resolvedFrom(bytes: Uint8Array, { mediaType, digest, action }: Fetched): Resolved {
  if (mediaType !== '' && !isIndex(mediaType) && !isManifest(mediaType)) {
    throw new OciError(
      'unsupported',
      `Cannot ${action}: manifests of type "${printable(mediaType)}" are not supported`,
    )
  }
  const document = { ...parseNamed(bytes, mediaType, action), digest }
  const type = document.value.mediaType
  return { descriptor: { mediaType: type, digest, size: bytes.byteLength }, document }
}

/** The parser knows what is wrong, not whose manifest it is. */
function parseNamed(bytes: Uint8Array, mediaType: string, action: string) {
  try {
    return parseManifest(bytes, mediaType)
  } catch (cause) {
    if (!(cause instanceof OciError)) throw cause
    const reason = cause.message.replace(/^Cannot/, 'cannot')
    throw new OciError(cause.code, `Cannot ${action}: ${reason}`, { cause })
  }
}

interface ManifestRequest {
  readonly method: 'GET' | 'HEAD'
  readonly onFailure?: 'once'
  readonly signal: AbortSignal | undefined
  readonly digest?: Digest | undefined
}

function requestManifest(
  client: RegistryClient,
  reference: Repository & Partial<Reference>,
  { digest, ...request }: ManifestRequest,
): Promise<HttpResponse> {
  const name = digest ?? reference.digest ?? reference.tag ?? 'latest'
  return sendRequest(client, reference, {
    ...request,
    path: `manifests/${name}`,
    action: actionOf(reference, digest),
    access: 'pull',
    headers: { accept: acceptedManifests.join(', ') },
    expect: [200],
  })
}

function actionOf(reference: Repository & Partial<Reference>, digest: Digest | undefined): string {
  if (digest !== undefined) return `pull "${describeRepository(reference)}@${digest}"`
  return `pull "${formatReference(reference)}"`
}

/** Throws `invalid` for a header that is no digest. */
function announcedDigest(response: HttpResponse): Digest | undefined {
  const header = response.header('docker-content-digest')
  return header === undefined ? undefined : parseDigest(header)
}

/** Types that say nothing: what servers put on files they do not know. */
const vagueTypes = new Set(['application/json', 'application/octet-stream', 'text/plain'])

/** Without parameters; empty when the registry does not say. */
function mediaTypeOf(response: HttpResponse): string {
  const type = response.header('content-type')?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  return vagueTypes.has(type) ? '' : type
}
