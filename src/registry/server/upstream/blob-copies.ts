/**
 * Blobs of upstreams: fetched once for all who ask at the same time, sent to them while they are
 * stored and verified.
 *
 * A blob that some repository here has already is not fetched again: the upstream is asked whether
 * it has it too, because a digest alone opens nothing.
 */
import type { Digest } from '../../../oci/digest.ts'
import { hasCode } from '../../../oci/errors.ts'
import { fetchBlob, type OpenedBlob, openBlob, sizeOfBlob } from '../../client/blob.ts'
import { cut } from '../../client/registry-blobs.ts'
import {
  findRecord,
  linkBlob,
  openBlob as openStored,
  type StoredBlob,
} from '../../storage/blobs.ts'
import type { ObjectRange } from '../../storage/object-store.ts'
import { ResourceError, UpstreamError } from '../../storage/resource-error.ts'
import { uploadWhole } from '../../storage/uploads.ts'
import { missKey, type Place, type Through } from './context.ts'
import { isLimit, mustNotBeInTrouble, noteFailure, rememberMiss, replyError } from './failure.ts'
import { SharedBytes } from './shared-bytes.ts'
import { SingleFlight } from './single-flight.ts'

/** A blob that the storage has not, or not yet. */
export interface ArrivingBlob {
  readonly digest: Digest
  readonly size: number
  read(range: ObjectRange): AsyncIterable<Uint8Array>
}

export class BlobCopies {
  readonly #through: Through
  readonly #beginning = new SingleFlight<ArrivingBlob | 'stored'>()
  readonly #arriving = new Map<string, ArrivingBlob>()
  readonly #underWay = new Set<Promise<void>>()

  constructor(through: Through) {
    this.#through = through
  }

  /**
   * Begins to fetch the blob, or joins those who wait for it; `stored`: the storage has it now.
   * Throws `not-found` of the blob, and {@link UpstreamError}.
   */
  fetch(place: Place, digest: Digest): Promise<ArrivingBlob | 'stored'> {
    const key = missKey(place, digest)
    const arriving = this.#arriving.get(key)
    if (arriving !== undefined) return Promise.resolve(arriving)
    return this.#beginning.run(key, () =>
      this.#attempt(place, digest, () => this.#begin(place, digest)),
    )
  }

  /** The size of a blob that nobody asks the bytes of. Throws as {@link fetch}. */
  size(place: Place, digest: Digest): Promise<number> {
    return this.#attempt(place, digest, async () => {
      const known = this.#arriving.get(missKey(place, digest))
      return known?.size ?? (await this.#askForSize(place, digest))
    })
  }

  /** Waits until nothing is being stored any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  async #attempt<T>(place: Place, digest: Digest, attempt: () => Promise<T>): Promise<T> {
    if (this.#through.misses.has(missKey(place, digest))) throw unknownBlob(place, digest)
    try {
      const limited = place.upstream.trouble.current
      if (limited !== undefined && isLimit(limited.error)) mustNotBeInTrouble(place)
      const result = await attempt()
      place.upstream.trouble.end()
      return result
    } catch (error) {
      const told = replyError(place.upstream, error, () => unknownBlob(place, digest))
      if (!(told instanceof UpstreamError)) rememberMiss(this.#through, place, digest)
      else noteFailure(this.#through, place, { name: digest, error, hasCopy: false })
      throw told
    }
  }

  async #askForSize({ upstream, remote }: Place, digest: Digest): Promise<number> {
    const size = await sizeOfBlob(upstream.client, remote, digest)
    if (size !== undefined) return size
    const message = `Cannot look for "${digest}": "${upstream.name}" does not say how large it is`
    throw new UpstreamError('invalid upstream', message)
  }

  async #begin(place: Place, digest: Digest): Promise<ArrivingBlob | 'stored'> {
    const { storage, signal } = this.#through
    const { upstream, remote } = place
    if (!this.#through.mayKeep()) return this.#passing(place, digest)
    const elsewhere = await findRecord(storage, digest)
    if (elsewhere !== undefined) {
      const size = await this.#askForSize(place, digest)
      const isSame = size === elsewhere.size
      if (isSame && (await linkBlob(storage, place.repository, elsewhere))) return 'stored'
    }
    const size = this.#through.sizes.get(digest)
    const opened = await openBlob(upstream.client, remote, { digest, size, signal })
    return this.#store(place, digest, opened)
  }

  /** Nothing can be kept: each client has a request of its own. */
  async #passing(place: Place, digest: Digest): Promise<ArrivingBlob> {
    const { client } = place.upstream
    const descriptor = { digest, size: await this.#askForSize(place, digest) }
    const { signal } = this.#through
    return {
      ...descriptor,
      read: range =>
        cut(holdingBack(fetchBlob(client, place.remote, { descriptor, signal })), range),
    }
  }

  #store(place: Place, digest: Digest, opened: OpenedBlob): ArrivingBlob {
    const { size } = opened
    const shared = new SharedBytes(size)
    const arriving = { digest, size, read: (range: ObjectRange) => shared.read(range) }
    const key = missKey(place, digest)
    this.#arriving.set(key, arriving)
    const storing = this.#receive(place, { digest, opened, shared }).finally(() => {
      this.#arriving.delete(key)
      this.#underWay.delete(storing)
    })
    this.#underWay.add(storing)
    return arriving
  }

  /** Never throws: who reads is told. */
  async #receive(
    place: Place,
    { digest, opened, shared }: { digest: Digest; opened: OpenedBlob; shared: SharedBytes },
  ): Promise<void> {
    const { storage, reports } = this.#through
    const { repository, upstream } = place
    const { size } = opened
    const open = (key: string) => (range: ObjectRange) =>
      opening(this.#through, { digest, size, key }, range)
    const source = watched(opened.bytes)
    try {
      const blob = await uploadWhole(storage, repository, {
        digest,
        size,
        bytes: shared.passing(source.bytes),
        ...(storage.objects.showsUnfinished === true
          ? { onWritten: (key: string, written: number) => shared.canOpen(written, open(key)) }
          : {}),
      })
      shared.finish(open(blob.key))
      reports.copied({ kind: 'blob', upstream: upstream.name, repository, digest, size })
    } catch (error) {
      shared.fail(error)
      const isTheirs = source.hasFailed() || hasCode(error, 'digest-mismatch')
      if (isTheirs) noteFailure(this.#through, place, { name: digest, error, hasCopy: false })
      else this.#through.cannotKeep(error)
    }
  }
}

async function* opening({ storage }: Through, blob: StoredBlob, range: ObjectRange) {
  const bytes = await openStored(storage, blob, range)
  yield* bytes
}

/** The bytes, and whether it was they that failed. */
function watched(bytes: AsyncIterable<Uint8Array>) {
  let failed = false
  const watch = async function* () {
    try {
      yield* bytes
    } catch (error) {
      failed = true
      throw error
    }
  }
  return { bytes: watch(), hasFailed: () => failed }
}

/** Each piece when the next is there: the last of what is wrong never comes. */
async function* holdingBack(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined
  for await (const chunk of bytes) {
    if (held !== undefined) yield held
    held = chunk
  }
  if (held !== undefined) yield held
}

function unknownBlob({ upstream, repository }: Place, digest: Digest): ResourceError {
  return new ResourceError(
    'not-found blob',
    `Cannot find blob "${digest}" in repository "${repository}": "${upstream.name}" has none for us`,
    { detail: { digest } },
  )
}
