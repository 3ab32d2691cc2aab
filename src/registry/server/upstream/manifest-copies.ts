/**
 * Manifests of upstreams: fetched when first asked for, kept as their bytes, tags checked again when
 * they are older than they are believed.
 *
 *   tag:  unknown ──GET──► copy, fresh ──time──► copy, old ──HEAD: the same──► copy, fresh
 *                                                   ├──HEAD: another──► GET ─► copy, fresh
 *                                                   ├──gone──► unknown
 *                                                   └──failing──► copy, believed a little longer
 *
 * Fresh is what this process knows; of a tag that another replica set a moment ago the time it was
 * set tells. So nothing is stored but manifests and tags, as they are of a push.
 */
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../../oci/digest.ts'
import type { Tag } from '../../../oci/reference.ts'
import { manifestKey } from '../../storage/keys.ts'
import { pushManifest } from '../../storage/manifests.ts'
import type { RegistryStorage } from '../../storage/registry-storage.ts'
import { ResourceError, UpstreamError } from '../../storage/resource-error.ts'
import {
  findManifest,
  type ManifestVersion,
  renewManifest,
  type StoredManifest,
} from '../../storage/stored-manifest.ts'
import type { StoredTag } from '../../storage/stored-tag.ts'
import { deleteTag, findTag, renewTag } from '../../storage/tags.ts'
import { isOfStorage, missKey, type Place, type Through } from './context.ts'
import {
  isLimit,
  meaningOf,
  mustNotBeInTrouble,
  noteFailure,
  rememberMiss,
  replyError,
} from './failure.ts'
import { askForDigest, type FetchedManifest, fetchManifest } from './fetch-manifest.ts'
import { SingleFlight } from './single-flight.ts'
import { within } from './upstream.ts'

/** What a tag is worth that was asked for just now: `undefined` says that the storage has it right. */
export interface Settled {
  readonly how: 'hit' | 'miss' | 'stale'
  /** What to answer with, when it is not what the storage has: nothing could be kept. */
  readonly manifest?: StoredManifest
}

/** How long a copy that could not be checked is believed, when the upstream says no time. */
const retryMs = 10_000

/** A copy is marked as used when the mark is older than this part of the time it is kept. */
const usePart = 8

export class ManifestCopies {
  readonly #through: Through
  readonly #fresh = new LRUCache<string, Settled['how']>({ max: 50_000 })
  readonly #used = new LRUCache<string, true>({ max: 50_000 })
  readonly #tags = new SingleFlight<Settled>()
  readonly #manifests = new SingleFlight<StoredManifest>()

  constructor(through: Through) {
    this.#through = through
  }

  /** Whether the tag is believed as it is stored, without a look at anything. */
  isFresh(place: Place, tag: Tag): Settled['how'] | undefined {
    return this.#fresh.get(missKey(place, tag))
  }

  /**
   * Has the storage right about the tag, as far as the upstream can be asked. Throws `not-found` of
   * the manifest, {@link UpstreamError} when there is no copy either, and what the storage throws.
   */
  settle(place: Place, tag: Tag): Promise<Settled> {
    return this.#tags.run(missKey(place, tag), () => this.#settle(place, tag))
  }

  /** The manifest from the upstream, kept. Throws as {@link settle}. */
  fetchByDigest(place: Place, digest: Digest): Promise<StoredManifest> {
    return this.#manifests.run(missKey(place, digest), async () => {
      const wanted = { name: digest, digest }
      this.#mustNotBeMissing(place, digest)
      try {
        return await this.#fetch(place, wanted)
      } catch (error) {
        throw this.#toClient(place, digest, error)
      }
    })
  }

  /** A tag that was believed and whose manifest is gone: it was collected, or deleted here. */
  async fetchAgain(place: Place, tag: Tag): Promise<StoredManifest> {
    const again = async () => {
      try {
        return await this.#fetch(place, { name: tag, tag })
      } catch (error) {
        throw this.#toClient(place, tag, error)
      }
    }
    return await this.#manifests.run(missKey(place, tag), again)
  }

  /** In the background: that the manifest was asked for by its digest, so that it is not collected. */
  markUsed(place: Place, digest: Digest): void {
    const { storage } = this.#through
    const { keepMs } = place.upstream.settings
    const key = missKey(place, digest)
    if (keepMs === Number.POSITIVE_INFINITY || this.#used.has(key)) return
    if (!this.#through.mayKeep()) return
    this.#used.set(key, true, { ttl: Math.ceil(keepMs / usePart) })
    const mark = async () => {
      const version = await findManifest(storage, place.repository, digest)
      if (version === undefined || !this.#isUseOld(place, version)) return
      await renewManifest(storage, place.repository, version)
    }
    mark().catch(error => this.#through.reports.notKept(error))
  }

  async #settle(place: Place, tag: Tag): Promise<Settled> {
    const { storage } = this.#through
    const { repository, upstream } = place
    this.#mustNotBeMissing(place, tag)
    const stored = await findTag(storage, repository, tag)
    const isCopy = stored?.upstream === upstream.name
    const isThere = stored !== undefined && (await hasManifest(storage, place, stored.digest))
    // What was pushed here before the repository was an upstream's stays what it is.
    if (isThere && stored.upstream === undefined) return this.#believe(place, tag)
    if (!isThere || !isCopy) return await this.#firstTime(place, tag)
    if (storage.policy.isImmutable(repository, tag)) return this.#believe(place, tag)
    const leftMs = stored.pushedAt + upstream.settings.tagTtlMs - storage.now().getTime()
    if (leftMs > 0) return this.#believe(place, tag, { ms: leftMs })
    return await this.#checkAgain(place, tag, stored)
  }

  async #firstTime(place: Place, tag: Tag): Promise<Settled> {
    try {
      const manifest = await this.#fetch(place, { name: tag, tag })
      return { how: 'miss', manifest }
    } catch (error) {
      throw this.#toClient(place, tag, error)
    }
  }

  async #checkAgain(place: Place, tag: Tag, stored: StoredTag): Promise<Settled> {
    const { upstream } = place
    try {
      mustNotBeInTrouble(place)
      const what = `check tag "${tag}" of "${place.repository}"`
      return await within(upstream.staleAfterMs, what, this.#askAgain(place, tag, stored))
    } catch (error) {
      const meaning = error instanceof UpstreamError ? 'failing' : meaningOf(upstream, error)
      if (meaning === 'failing') return await this.#useCopy(place, tag, { stored, error })
      if (meaning === 'gone') await this.#drop(place, tag)
      throw this.#toClient(place, tag, error)
    }
  }

  async #askAgain(place: Place, tag: Tag, stored: StoredTag): Promise<Settled> {
    const digest = await askForDigest(place.upstream, place.remote, tag)
    if (digest === stored.digest) {
      place.upstream.trouble.end()
      await this.#markTagUsed(place, tag, stored)
      return this.#believe(place, tag)
    }
    const wanted = digest === undefined ? { name: tag, tag } : { name: digest, digest, tag }
    return { how: 'miss', manifest: await this.#fetch(place, wanted) }
  }

  /** Stale if error. */
  async #useCopy(
    place: Place,
    tag: Tag,
    { stored, error }: { readonly stored: StoredTag; readonly error: unknown },
  ): Promise<Settled> {
    // Who was not asked, because of a failure that was told, did not fail again.
    if (!(error instanceof UpstreamError)) this.#report(place, tag, { error, hasCopy: true })
    const leftMs = place.upstream.trouble.current?.leftMs ?? retryMs
    await this.#markTagUsed(place, tag, stored)
    return this.#believe(place, tag, { ms: Math.min(leftMs, retryMs), how: 'stale' })
  }

  async #drop(place: Place, tag: Tag): Promise<void> {
    const { storage, reports } = this.#through
    if (!this.#through.mayKeep()) return
    const { repository, upstream } = place
    await deleteTag(storage, repository, { tag }).catch(ignoreResourceError)
    reports.dropped({ upstream: upstream.name, repository, tag })
  }

  /** Throws what the upstream is to blame for; of the storage only what does not pass. */
  async #fetch(
    place: Place,
    wanted: { readonly name: string; readonly digest?: Digest; readonly tag?: Tag },
  ): Promise<StoredManifest> {
    const { upstream, remote } = place
    const limited = upstream.trouble.current
    if (limited !== undefined && isLimit(limited.error)) mustNotBeInTrouble(place)
    const fetched = await fetchManifest(upstream, remote, wanted)
    upstream.trouble.end()
    for (const { kind, digest, size } of fetched.document.references) {
      if (kind === 'blob') this.#through.sizes.set(digest, size)
    }
    const manifest = manifestFrom(place, fetched)
    if (await this.#keep(place, manifest, wanted.tag)) {
      if (wanted.tag !== undefined) this.#believe(place, wanted.tag)
    }
    return manifest
  }

  async #keep(place: Place, manifest: StoredManifest, tag: Tag | undefined): Promise<boolean> {
    const { storage, reports } = this.#through
    if (!this.#through.mayKeep()) return false
    const { repository, upstream } = place
    const { bytes, mediaType, digest } = manifest
    try {
      await pushManifest(forCopies(storage), repository, {
        bytes,
        contentType: mediaType,
        digest,
        tags: tag === undefined ? [] : [tag],
        upstream: upstream.name,
      })
    } catch (error) {
      if (!isOfStorage(error)) throw error
      this.#through.cannotKeep(error)
      return false
    }
    const size = bytes.length
    reports.copied({ kind: 'manifest', upstream: upstream.name, repository, digest, tag, size })
    return true
  }

  #believe(
    place: Place,
    tag: Tag,
    { ms = place.upstream.settings.tagTtlMs, how = 'hit' as Settled['how'] } = {},
  ): Settled {
    if (ms > 0) this.#fresh.set(missKey(place, tag), how, { ttl: Math.ceil(ms) })
    return { how }
  }

  async #markTagUsed(place: Place, tag: Tag, stored: StoredTag): Promise<void> {
    const { storage } = this.#through
    if (!this.#through.mayKeep() || !this.#isUseOld(place, stored)) return
    const manifest = await findManifest(storage, place.repository, stored.digest)
    if (manifest !== undefined) await renewTag(storage, place.repository, { tag, manifest })
  }

  #isUseOld(
    { upstream }: Place,
    copy: Pick<ManifestVersion, 'pushedAt'> & { readonly upstream?: string | undefined },
  ): boolean {
    const { keepMs } = upstream.settings
    const ageMs = this.#through.storage.now().getTime() - copy.pushedAt
    return copy.upstream !== undefined && ageMs > keepMs / usePart
  }

  #mustNotBeMissing(place: Place, name: string): void {
    if (this.#through.misses.has(missKey(place, name))) throw unknownManifest(place, name)
  }

  #toClient(place: Place, name: string, error: unknown): ResourceError {
    const told = replyError(place.upstream, error, () => unknownManifest(place, name))
    if (told instanceof UpstreamError) this.#report(place, name, { error, hasCopy: false })
    else rememberMiss(this.#through, place, name)
    return told
  }

  #report(place: Place, name: string, failure: { error: unknown; hasCopy: boolean }): void {
    noteFailure(this.#through, place, { name, ...failure })
  }
}

function unknownManifest({ upstream, repository }: Place, name: string): ResourceError {
  return new ResourceError(
    'not-found manifest',
    `Cannot find manifest "${name}" in repository "${repository}": "${upstream.name}" has none for us`,
    { detail: { reference: name } },
  )
}

function manifestFrom({ upstream }: Place, fetched: FetchedManifest): StoredManifest {
  const { bytes, digest, document } = fetched
  const { mediaType, subject } = document
  const upstreamName = { upstream: upstream.name }
  return { bytes, digest, mediaType, ...upstreamName, ...(subject ? { subject } : {}) }
}

/** Copies are made of parts, as clients ask for them, and follow their upstream. */
function forCopies(storage: RegistryStorage): RegistryStorage {
  const policy = { ...storage.policy, missingReferences: 'accept' as const }
  return { ...storage, policy: { ...policy, isImmutable: () => false } }
}

async function hasManifest(
  storage: RegistryStorage,
  { repository }: Place,
  digest: Digest,
): Promise<boolean> {
  return (await storage.objects.size(manifestKey(repository, digest))) !== undefined
}

function ignoreResourceError(error: unknown): void {
  if (!(error instanceof ResourceError)) throw error
}
