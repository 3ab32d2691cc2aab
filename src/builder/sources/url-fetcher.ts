/**
 * UrlFetcher: what URLs have, for ADD and for build contexts.
 *
 *   records/url/<hash of the URL>.json   { digest, modified, etag, lastModified }
 *
 * The bytes are a blob of the content store. A later build asks the server whether the URL still has
 * them (ETag, Last-Modified) and downloads nothing if so; not even the blob need be there as long as
 * all steps that read it are in the cache. Within one build a URL is asked once: it has one content.
 * Reference: C26–C28, K06.
 */
import { createHash, type Hash } from 'node:crypto'
import type { ContentStore } from '../../layerfs/content/content-store.ts'
import type { Records } from '../../layerfs/content/records.ts'
import { type Digest, digestOf, hexOf, parseDigest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asSize, asString, field, member, optional } from '../../oci/json.ts'
import type { HttpResponse } from '../../registry/client/transport.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { SecretSource } from '../steps/step-world.ts'
import { vertex } from '../vertex.ts'
import { once } from './once.ts'
import { getUrl, type HttpClient, parseUrl, shownUrl } from './url-request.ts'

export interface UrlContent {
  readonly digest: Digest
  /** `Last-Modified` in seconds since 1970, 0 when the server does not say. */
  readonly modified: number
}

export interface UrlFetcher {
  /** What the URL has now; its bytes are perhaps not in the store. Throws as {@link getUrl}. */
  look(url: string, signal: AbortSignal): Promise<UrlContent>
  /**
   * The same, its bytes in the store. Throws `digest-mismatch` when they are not those of
   * `checksum` (`sha256:`, `sha384:` or `sha512:` and hex digits), and keeps nothing then.
   */
  fetch(url: string, options: FetchOptions): Promise<UrlContent>
}

export interface FetchOptions {
  readonly checksum?: string
  readonly signal: AbortSignal
}

export interface UrlWorld {
  readonly content: ContentStore
  readonly records: Records
  readonly client: HttpClient
  readonly secrets: SecretSource
  readonly emit: EmitBuildEvent
  /** What is known of a URL will do. */
  readonly offline?: boolean
}

export function urlFetcher(world: UrlWorld): UrlFetcher {
  const looked = new Map<string, Promise<UrlContent>>()
  const fetched = new Map<string, Promise<UrlContent>>()
  const look = (url: string, signal: AbortSignal) =>
    once(looked, url, () => lookAt(world, parseUrl(url), signal))
  return {
    look,
    fetch: (url, options) =>
      once(fetched, `${url} ${options.checksum ?? ''}`, async () => {
        // Without checksum the key was made of what was seen: the step must get just that.
        const seen = options.checksum === undefined ? await look(url, options.signal) : undefined
        return await fetchSeen(world, parseUrl(url), { ...options, ...field('seen', seen) })
      }),
  }
}

async function lookAt(world: UrlWorld, url: URL, signal: AbortSignal): Promise<UrlContent> {
  const known = await recordOf(world, url)
  if (world.offline === true && known !== undefined) return known
  return await ask(world, url, { ...field('known', known), signal })
}

interface Fetching extends FetchOptions {
  readonly seen?: UrlContent
}

async function fetchSeen(
  world: UrlWorld,
  url: URL,
  { seen, checksum, signal }: Fetching,
): Promise<UrlContent> {
  const known = seen ?? (await recordOf(world, url))
  if (known !== undefined && (await world.content.find(known.digest)) !== undefined) {
    if (checksum === undefined || (await hasChecksum(world, known.digest, checksum))) return known
  }
  const content = await ask(world, url, { ...field('checksum', checksum), signal })
  if (seen === undefined || content.digest === seen.digest) return content
  throw new OciError('conflict', `Cannot fetch "${shownUrl(url)}": it changed during the build`)
}

async function hasChecksum(
  { content }: UrlWorld,
  digest: Digest,
  checksum: string,
): Promise<boolean> {
  const hash = createHash(algorithmIn(checksum))
  for await (const chunk of content.open(digest)) hash.update(chunk)
  return checksumOf(hash, checksum) === checksum
}

function algorithmIn(checksum: string): string {
  return checksum.slice(0, checksum.indexOf(':'))
}

function checksumOf(hash: Hash, checksum: string): string {
  return `${algorithmIn(checksum)}:${hash.digest('hex')}`
}

interface Asking {
  /** What an earlier build saw, if that may be the answer. */
  readonly known?: UrlRecord
  readonly checksum?: string
  readonly signal: AbortSignal
}

async function ask(
  world: UrlWorld,
  url: URL,
  { known, checksum, signal }: Asking,
): Promise<UrlContent> {
  return await vertex(shownUrl(url), world.emit, async id => {
    const { client, secrets } = world
    const headers = validators(known)
    await using response = await getUrl(client, { url, headers, secrets, signal })
    if (response.status === 304) {
      if (known !== undefined) return known
      throw new OciError('invalid', `Cannot fetch "${shownUrl(url)}": invalid response status 304`)
    }
    const progress = (bytes: number, isDone: boolean) =>
      world.emit({ kind: 'status', id, item: 'downloading', current: bytes, isDone })
    const digest = await download(world, response, {
      url,
      progress,
      ...field('checksum', checksum),
    })
    const record = recordFrom(digest, response)
    await world.records.put('url', recordKey(url), record)
    return record
  })
}

function validators(known: UrlRecord | undefined): Record<string, string> {
  return {
    ...(known?.etag === undefined ? {} : { 'if-none-match': known.etag }),
    ...(known?.lastModified === undefined ? {} : { 'if-modified-since': known.lastModified }),
  }
}

interface Download {
  readonly url: URL
  readonly checksum?: string
  readonly progress: (bytes: number, isDone: boolean) => void
}

const progressStep = 1 << 20

async function download(
  { content }: UrlWorld,
  { body }: HttpResponse,
  { url, checksum, progress }: Download,
): Promise<Digest> {
  const hash = checksum === undefined ? undefined : createHash(algorithmIn(checksum))
  await using ingest = await content.ingest()
  let size = 0
  let told = 0
  for await (const chunk of body) {
    hash?.update(chunk)
    await ingest.write(chunk)
    size += chunk.length
    if (size - told < progressStep) continue
    told = size
    progress(size, false)
  }
  progress(size, true)
  if (hash !== undefined && checksum !== undefined) {
    const found = checksumOf(hash, checksum)
    if (found !== checksum) throw checksumMismatch(url, found, checksum)
  }
  const { digest } = await ingest.commit()
  return digest
}

/** BuildKit's words (C27). */
function checksumMismatch(url: URL, found: string, expected: string): OciError {
  return new OciError(
    'digest-mismatch',
    `digest mismatch for ${shownUrl(url)}: ${found} (expected: ${expected})`,
  )
}

interface UrlRecord extends UrlContent {
  readonly etag?: string
  readonly lastModified?: string
}

function recordKey(url: URL): string {
  return hexOf(digestOf(url.href))
}

function recordFrom(digest: Digest, response: HttpResponse): UrlRecord {
  const lastModified = response.header('last-modified')
  const time = Date.parse(lastModified ?? '')
  return {
    digest,
    modified: Number.isNaN(time) || time < 0 ? 0 : Math.floor(time / 1000),
    ...field('etag', response.header('etag')),
    ...field('lastModified', lastModified),
  }
}

/** `undefined` for what another version of the program, or a crash, left. */
async function recordOf({ records }: UrlWorld, url: URL): Promise<UrlRecord | undefined> {
  const value = await records.get('url', recordKey(url))
  if (value === undefined) return undefined
  const node = { document: 'URL record', path: '', value }
  try {
    return {
      digest: parseDigest(asString(member(node, 'digest'))),
      modified: asSize(member(node, 'modified')),
      ...field('etag', optional(member(node, 'etag'), asString)),
      ...field('lastModified', optional(member(node, 'lastModified'), asString)),
    }
  } catch (error) {
    if (error instanceof OciError) return undefined
    throw error
  }
}
