/** Manifests of an upstream: their exact bytes, checked against all that was said of them. */
import { algorithmOf, type Digest, digestOf, parseDigest } from '../../../oci/digest.ts'
import { OciError } from '../../../oci/errors.ts'
import { acceptedManifests } from '../../../oci/media-type.ts'
import { describeRepository, type Repository, sendRequest } from '../../client/request.ts'
import { maxManifestSize } from '../../client/resolve.ts'
import { retrying } from '../../client/retry.ts'
import { type HttpResponse, readBody } from '../../client/transport.ts'
import { type ManifestDocument, parseManifestDocument } from '../../storage/manifest-document.ts'
import type { Upstream } from './upstream.ts'

export interface FetchedManifest {
  readonly bytes: Uint8Array
  readonly digest: Digest
  /** Of the bytes: its media type is the one to serve them as. */
  readonly document: ManifestDocument
}

interface Wanted {
  /** A tag or a digest. */
  readonly name: string
  readonly digest?: Digest | undefined
}

/**
 * Throws what `sendRequest` throws, `digest-mismatch` for other bytes than were asked for or
 * announced, `too-large`, and `invalid` for what is no manifest. Bodies that break off are fetched
 * again.
 */
export function fetchManifest(
  { client }: Upstream,
  from: Repository,
  wanted: Wanted,
): Promise<FetchedManifest> {
  return retrying(client.retry, async () => {
    const action = actionOf(from, wanted)
    await using response = await sendRequest(client, from, {
      method: 'GET',
      ...requestOf(from, wanted),
      onFailure: 'once',
    })
    const bytes = await readBody(response, { action, limit: maxManifestSize })
    const digest = wanted.digest ?? announcedDigest(response) ?? digestOf(bytes)
    const actual = digestOf(bytes, algorithmOf(digest))
    if (actual !== digest) {
      throw new OciError('digest-mismatch', `Cannot ${action}: expected ${digest}, got ${actual}`)
    }
    return { bytes, digest, document: documentFrom(bytes, { response, action }) }
  })
}

/** What the tag points at; `undefined` when the upstream does not say it to HEAD, which is for free. */
export async function askForDigest(
  { client }: Upstream,
  from: Repository,
  tag: string,
): Promise<Digest | undefined> {
  const request = requestOf(from, { name: tag })
  await using response = await sendRequest(client, from, {
    method: 'HEAD',
    ...request,
    expect: [200, 405],
    onFailure: 'once',
  })
  return response.status === 200 ? announcedDigest(response) : undefined
}

function requestOf(from: Repository, wanted: Wanted) {
  return {
    path: `manifests/${wanted.name}`,
    action: actionOf(from, wanted),
    access: 'pull',
    headers: { accept: [...acceptedManifests, '*/*'].join(', ') },
    expect: [200],
  } as const
}

function actionOf(from: Repository, { name, digest }: Wanted): string {
  return `pull "${describeRepository(from)}${digest === undefined ? ':' : '@'}${name}"`
}

/** Throws `invalid` for a header that is no digest. */
function announcedDigest(response: HttpResponse): Digest | undefined {
  const header = response.header('docker-content-digest')
  return header === undefined ? undefined : parseDigest(header)
}

/** Types that say nothing: what servers put on files they do not know. */
const vagueTypes = ['application/json', 'application/octet-stream', 'text/plain']

function documentFrom(
  bytes: Uint8Array,
  { response, action }: { readonly response: HttpResponse; readonly action: string },
): ManifestDocument {
  const type = response.header('content-type')?.split(';', 1)[0]?.trim() ?? ''
  try {
    return parseManifestDocument(bytes, vagueTypes.includes(type.toLowerCase()) ? '' : type)
  } catch (cause) {
    if (!(cause instanceof OciError)) throw cause
    const reason = cause.message.replace(/^Cannot/, 'cannot')
    throw new OciError('invalid', `Cannot ${action}: ${reason}`, { cause })
  }
}
