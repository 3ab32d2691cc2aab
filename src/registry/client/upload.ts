/**
 * One blob into a repository: found there, mounted from another, or uploaded.
 *
 *   HEAD ─200─► there already
 *     └404─► POST ?mount&from ─201─► mounted
 *              └202 (or POST) ─► PUT bytes ─201─► uploaded
 *                                  └─ broken, 5xx ─► GET ─204─► PUT the rest
 *                                       │             └─ anything else: POST again, from the start
 *                                       └─ session gone, rest refused ─► the same
 *
 * A registry that tells what it has of an upload gets the rest of it.
 */
import type { BlobReader } from '../../layerfs/content/content-store.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { OciError } from '../../oci/errors.ts'
import type { RepositoryName } from '../../oci/reference.ts'
import type { Access } from './auth.ts'
import type { RegistryClient } from './client.ts'
import { countBytes } from './count-bytes.ts'
import { RegistryError } from './registry-error.ts'
import { describeRepository, type Repository, sendRequest } from './request.ts'
import { isTransient, pause, pauseOf } from './retry.ts'
import type { OnTransfer } from './transfer-event.ts'
import { type HttpResponse, resolveLocation } from './transport.ts'

export interface BlobUpload {
  readonly descriptor: Descriptor
  readonly from: BlobReader
  /** Repositories of the same registry that have the blob, best first. */
  readonly mountFrom: readonly RepositoryName[]
  readonly onEvent: OnTransfer | undefined
  readonly signal: AbortSignal | undefined
}

/**
 * Makes sure that the repository has the blob; answers whether it had it. Throws `not-found` when it has to be uploaded and
 * `from` lacks it, and what `sendRequest` throws.
 */
export async function pushBlob(
  client: RegistryClient,
  to: Repository,
  upload: BlobUpload,
): Promise<boolean> {
  const { digest, size: total } = upload.descriptor
  if (await hasBlob(client, to, { ...upload, access: 'push' })) {
    upload.onEvent?.({ kind: 'blob-exists', digest, total })
    return true
  }
  const mounted = await tryMounts(client, to, upload)
  if (mounted.kind === 'mounted') {
    upload.onEvent?.({ kind: 'blob-mounted', digest, total, from: mounted.from })
    return false
  }
  await uploadBlob(client, to, { ...upload, session: mounted.session })
  upload.onEvent?.({ kind: 'blob-done', digest, total, direction: 'push' })
  return false
}

export interface BlobQuestion {
  readonly descriptor: Descriptor
  /** What the asker is about to do. */
  readonly access: Access
  readonly signal: AbortSignal | undefined
}

/** Whether the repository has the blob. Throws what `sendRequest` throws. */
export async function hasBlob(
  client: RegistryClient,
  to: Repository,
  { descriptor, access, signal }: BlobQuestion,
): Promise<boolean> {
  await using response = await sendRequest(client, to, {
    method: 'HEAD',
    path: `blobs/${descriptor.digest}`,
    action:
      access === 'push'
        ? actionOf(to, descriptor)
        : `find ${descriptor.digest} in "${describeRepository(to)}"`,
    access,
    expect: [200, 404],
    signal,
  })
  return response.status === 200
}

type MountOutcome =
  | { readonly kind: 'mounted'; readonly from: RepositoryName }
  /** A registry that cannot mount opens an upload in its place. */
  | { readonly kind: 'not-mounted'; readonly session: URL | undefined }

async function tryMounts(
  client: RegistryClient,
  to: Repository,
  upload: BlobUpload,
): Promise<MountOutcome> {
  let session: URL | undefined
  for (const from of upload.mountFrom.filter(name => name !== to.repository)) {
    const outcome = await tryMount(client, to, { ...upload, mount: from })
    if (outcome.kind === 'mounted') return outcome
    session = outcome.session ?? session
  }
  return { kind: 'not-mounted', session }
}

async function tryMount(
  client: RegistryClient,
  to: Repository,
  { descriptor, mount, signal }: BlobUpload & { readonly mount: RepositoryName },
): Promise<MountOutcome> {
  const query = new URLSearchParams({ mount: descriptor.digest, from: mount })
  const action = actionOf(to, descriptor)
  try {
    await using response = await startUpload(client, to, {
      action,
      signal,
      path: `blobs/uploads/?${query}`,
      alsoReads: [mount],
      expect: [201, 202],
    })
    if (response.status === 201) return { kind: 'mounted', from: mount }
    return { kind: 'not-mounted', session: locationOf(action, response) }
  } catch (error) {
    // The user may push here without the right to read there; then the bytes are sent.
    const isRefusal =
      error instanceof RegistryError && [400, 401, 403, 404, 405].includes(error.status)
    if (!isRefusal) throw error
    return { kind: 'not-mounted', session: undefined }
  }
}

interface StartRequest {
  readonly action: string
  readonly path: string
  readonly alsoReads?: readonly string[]
  readonly expect: readonly number[]
  readonly signal: AbortSignal | undefined
}

function startUpload(
  client: RegistryClient,
  to: Repository,
  request: StartRequest,
): Promise<HttpResponse> {
  return sendRequest(client, to, {
    ...request,
    method: 'POST',
    access: 'push',
    headers: { 'content-length': '0' },
  })
}

type SessionUpload = BlobUpload & { readonly session: URL | undefined }

async function uploadBlob(
  client: RegistryClient,
  to: Repository,
  upload: SessionUpload,
): Promise<void> {
  if ((await upload.from.find(upload.descriptor.digest)) === undefined) {
    const action = actionOf(to, upload.descriptor)
    throw new OciError('not-found', `Cannot ${action}: the blob is not in the local store`)
  }
  let place = upload.session && { session: upload.session, start: 0 }
  for (let failures = 1; ; failures++) {
    place ??= { session: await openSession(client, to, upload), start: 0 }
    const { session, start } = place
    try {
      return await putBytes(client, to, { ...upload, session, start })
    } catch (error) {
      const pauseMs = isWorthAnother(error, start)
        ? pauseOf(client.retry, failures, error)
        : undefined
      if (pauseMs === undefined) throw error
      await pause(pauseMs, upload.signal)
      place = isTransient(error) ? await receivedOf(client, to, { ...upload, session }) : undefined
    }
  }
}

/** Also a refusal of the rest: what the registry said of itself may be wrong. */
function isWorthAnother(error: unknown, start: number): boolean {
  return isTransient(error) || lostSession(error) || (start > 0 && error instanceof RegistryError)
}

interface UploadPlace {
  readonly session: URL
  /** How many of the bytes the registry has. */
  readonly start: number
}

/** `undefined` where the registry does not tell, or has nothing. */
async function receivedOf(
  client: RegistryClient,
  to: Repository,
  { descriptor, session, signal }: BlobUpload & { readonly session: URL },
): Promise<UploadPlace | undefined> {
  const action = actionOf(to, descriptor)
  try {
    await using response = await sendRequest(client, to, {
      method: 'GET',
      path: session,
      action,
      access: 'push',
      expect: [204],
      onFailure: 'once',
      signal,
    })
    const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.header('range') ?? '')?.[1]
    // "0-0" is said of nothing, too.
    const start = Number(last ?? 0) === 0 ? 0 : Number(last) + 1
    if (start === 0 || start > descriptor.size) return undefined
    return { session: locationOf(action, response), start }
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof OciError) return undefined
    throw error
  }
}

/** The session ended under us: another replica answered, or the registry forgot it. */
function lostSession(error: unknown): boolean {
  return error instanceof RegistryError && [404, 409, 416].includes(error.status)
}

async function openSession(
  client: RegistryClient,
  to: Repository,
  { descriptor, signal }: BlobUpload,
): Promise<URL> {
  const action = actionOf(to, descriptor)
  const request = { action, path: 'blobs/uploads/', expect: [202], signal }
  await using response = await startUpload(client, to, request)
  return locationOf(action, response)
}

/** Registries on object storage may copy the whole blob before they answer. */
const commitPatience = 10

async function putBytes(
  client: RegistryClient,
  to: Repository,
  upload: BlobUpload & UploadPlace,
): Promise<void> {
  const { descriptor, from, onEvent, session, start, signal } = upload
  const { digest, size: total } = descriptor
  const left = total - start
  const url = new URL(session)
  url.searchParams.set('digest', digest)
  const body = () =>
    countBytes(from.open(digest, start === 0 ? undefined : { start }), bytes =>
      onEvent?.({ kind: 'blob-progress', digest, bytes: start + bytes, total, direction: 'push' }),
    )
  const range = start === 0 || left === 0 ? {} : { 'content-range': `${start}-${total - 1}` }
  await using _ = await sendRequest(client, to, {
    method: 'PUT',
    path: url,
    action: actionOf(to, descriptor),
    access: 'push',
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': `${left}`,
      ...range,
    },
    // An empty stream would be sent chunked.
    body: left === 0 ? new Uint8Array() : body,
    expect: [201, 204],
    onFailure: 'once',
    headersMs: client.timeouts.headersMs * commitPatience,
    signal,
  })
}

/** Absolute or relative to the answer; its query is the registry's and is kept. */
function locationOf(action: string, response: HttpResponse): URL {
  const location = response.header('location')
  if (location === undefined) {
    throw new OciError('invalid', `Cannot ${action}: the registry gave no Location to upload to`)
  }
  return resolveLocation(action, location, response.url)
}

function actionOf(to: Repository, { digest }: Descriptor): string {
  return `push ${digest} to "${describeRepository(to)}"`
}
