/**
 * Push: an image or index from a blob reader into a repository.
 *
 * Nothing is uploaded that the registry has. The tag moves last, in one request, so a push that
 * fails or is killed leaves the old image in place and at most unreferenced blobs.
 */
import type { BlobReader } from '../../layerfs/content/content-store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import {
  formatReference,
  type Reference,
  type RepositoryName,
  type Tag,
} from '../../oci/reference.ts'
import type { RegistryClient } from './client.ts'
import { parallel } from './parallel.ts'
import { type PlannedManifest, type PushPlan, planPush } from './push-plan.ts'
import { RegistryError } from './registry-error.ts'
import { describeRepository, type Repository, sendRequest } from './request.ts'
import type { OnTransfer } from './transfer-event.ts'
import { pushBlob } from './upload.ts'

export interface PushOptions {
  /** The manifest or index that the target will name. */
  readonly root: Descriptor
  /** Has all of it, except blobs that the registry has or can mount. */
  readonly from: BlobReader
  /** Per blob, repositories of the target's registry that have it. */
  readonly mountFrom?: ReadonlyMap<Digest, readonly RepositoryName[]>
  /** More tags of the target's repository for the same root. */
  readonly tags?: readonly Tag[]
  /** Requests at a time; default 4. */
  readonly concurrency?: number
  readonly onEvent?: OnTransfer
  readonly signal?: AbortSignal
}

const defaultConcurrency = 4

/**
 * Resolves when every tag names the root. Throws `not-found` for a blob that is nowhere, `invalid`
 * for a target whose digest is not the root's, and what `planPush` and `sendRequest` throw.
 */
export async function pushImage(
  client: RegistryClient,
  target: Reference,
  options: PushOptions,
): Promise<void> {
  checkTarget(target, options.root)
  const plan = await planPush(options.from, options.root)
  try {
    await pushPlanned(client, target, { ...options, plan })
  } catch (error) {
    // A blob that was there may be collected before the manifest that would have kept it arrives.
    if (!lostBlob(error)) throw error
    await pushPlanned(client, target, { ...options, plan })
  }
}

function lostBlob(error: unknown): boolean {
  const codes = ['BLOB_UNKNOWN', 'MANIFEST_BLOB_UNKNOWN']
  return error instanceof RegistryError && error.errors.some(({ code }) => codes.includes(code))
}

export interface DocumentPush extends Omit<PushOptions, 'root' | 'tags'> {
  readonly document: { readonly mediaType: string; readonly bytes: Uint8Array }
  /** Those that the document names, whatever they are. */
  readonly blobs: readonly Descriptor[]
}

/** One document under the target's name, after the blobs that it needs. Throws as {@link pushImage}. */
export async function pushDocument(
  client: RegistryClient,
  target: Reference,
  { document: { mediaType, bytes }, blobs, ...options }: DocumentPush,
): Promise<void> {
  const { onEvent, signal } = options
  await pushBlobs(client, target, { ...options, blobs })
  const manifest = { mediaType, document: { bytes, digest: digestOf(bytes) } }
  for (const tag of namesOf(target))
    await putManifest(client, target, { manifest, tag, onEvent, signal })
}

/** Answers whether the repository had all of them. */
async function pushBlobs(
  client: RegistryClient,
  target: Reference,
  {
    blobs,
    from,
    onEvent,
    mountFrom,
    signal,
    concurrency = defaultConcurrency,
  }: Omit<DocumentPush, 'document'>,
): Promise<boolean> {
  let hadAll = true
  await parallel(blobs, { limit: concurrency, signal }, async (descriptor, stop) => {
    const had = await pushBlob(client, target, {
      descriptor,
      from,
      mountFrom: mountFrom?.get(descriptor.digest) ?? [],
      onEvent,
      signal: stop,
    })
    hadAll &&= had
  })
  return hadAll
}

async function pushPlanned(
  client: RegistryClient,
  target: Reference,
  options: PushOptions & { readonly plan: PushPlan },
): Promise<void> {
  const { plan, onEvent, signal } = options
  const limits = { limit: options.concurrency ?? defaultConcurrency, signal }
  const hadAll = await pushBlobs(client, target, { ...options, blobs: plan.blobs })
  for (const manifests of plan.levels.slice(0, -1)) {
    await parallel(manifests, limits, (manifest, stop) =>
      putManifest(client, target, { manifest, onEvent, signal: stop }),
    )
  }
  for (const manifest of plan.levels.at(-1) ?? []) {
    for (const tag of namesOf(target, options.tags)) {
      const put = { manifest, tag, onEvent, signal }
      if (hadAll && plan.levels.length === 1 && (await isNamed(client, target, put))) told(put)
      else await putManifest(client, target, put)
    }
  }
}

function checkTarget(target: Reference, root: Descriptor): void {
  if (target.digest === undefined || target.digest === root.digest) return
  throw new OciError(
    'invalid',
    `Cannot push to "${formatReference(target)}": expected the digest ${root.digest}`,
  )
}

/** Under which the root is put: each tag once, or `undefined` for its digest. */
function namesOf(target: Reference, tags: readonly Tag[] = []): (Tag | undefined)[] {
  const names = [...new Set([...(target.tag === undefined ? [] : [target.tag]), ...tags])]
  return names.length === 0 ? [undefined] : names
}

interface ManifestPut {
  readonly manifest: {
    readonly mediaType: string
    readonly document: Pick<PlannedManifest['document'], 'bytes' | 'digest'>
  }
  /** Its digest is its name when there is none. */
  readonly tag?: Tag | undefined
  readonly onEvent: OnTransfer | undefined
  readonly signal: AbortSignal | undefined
}

/**
 * Whether the name is the manifest's already: to put it again would cost the registry a write, and
 * whoever it tells a push that is none. `false` where it does not say.
 */
async function isNamed(
  client: RegistryClient,
  to: Repository,
  { manifest, tag, signal }: ManifestPut,
): Promise<boolean> {
  const { digest } = manifest.document
  try {
    await using response = await sendRequest(client, to, {
      method: 'HEAD',
      path: `manifests/${tag ?? digest}`,
      action: actionOf(to, { manifest, tag }),
      access: 'push',
      headers: { accept: manifest.mediaType },
      expect: [200, 404],
      signal,
    })
    return response.status === 200 && response.header('docker-content-digest') === digest
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

function actionOf(
  to: Repository,
  { manifest, tag }: Pick<ManifestPut, 'manifest' | 'tag'>,
): string {
  const name = tag === undefined ? `@${manifest.document.digest}` : `:${tag}`
  return `push "${describeRepository(to)}${name}"`
}

function told({ manifest, tag, onEvent }: ManifestPut): void {
  const { digest } = manifest.document
  onEvent?.({ kind: 'manifest', digest, direction: 'push', ...(tag === undefined ? {} : { tag }) })
}

async function putManifest(
  client: RegistryClient,
  to: Repository,
  put: ManifestPut,
): Promise<void> {
  const { manifest, tag, signal } = put
  const { bytes, digest } = manifest.document
  await using _ = await sendRequest(client, to, {
    method: 'PUT',
    path: `manifests/${tag ?? digest}`,
    action: actionOf(to, put),
    access: 'push',
    headers: { 'content-type': manifest.mediaType },
    body: bytes,
    expect: [200, 201, 202],
    signal,
  })
  told(put)
}
