/** The four requests of a multipart upload. */
import { createHash } from 'node:crypto'
import { OciError } from '../../../oci/errors.ts'
import { conditionFailed } from '../object-store.ts'
import { firstElement, mustBeWhole } from './listing.ts'
import type { Part } from './progress.ts'
import { retrying, unavailable } from './retries.ts'
import type { S3Client } from './s3-client.ts'
import { codeIn, isAbsence, isConditionFailure, readText, S3Failure } from './s3-failure.ts'

export interface Multipart {
  readonly key: string
  readonly uploadId: string
}

/** One that is begun twice because an answer was lost is found by `unfinished()`. */
export function beginMultipart(client: S3Client, key: string): Promise<Multipart> {
  return retrying(`Cannot begin object "${key}"`, async () => {
    const response = await client.send({ method: 'POST', key, query: { uploads: '' } })
    const uploadId = firstElement(await readText(response), 'UploadId')
    if (uploadId === undefined) throw new Error('The storage named no multipart upload')
    return { key, uploadId }
  })
}

/** `index` from 0. Throws `not-found` when the upload was aborted. */
export function uploadPart(
  client: S3Client,
  { key, uploadId }: Multipart,
  { index, body }: { readonly index: number; readonly body: Buffer },
): Promise<Part> {
  return retrying(`Cannot write part ${index + 1} of object "${key}"`, async () => {
    try {
      const query = { partNumber: String(index + 1), uploadId }
      const { etag } = await client.sendOnly({ method: 'PUT', key, query, body })
      return { etag: String(etag), size: body.length }
    } catch (cause) {
      if (!isAbsence(cause)) throw cause
      throw new OciError('not-found', `Cannot continue object "${key}": it was given up`, { cause })
    }
  })
}

/**
 * Puts the parts together, where there is no object yet. Throws `conflict` when there is one, and
 * `not-found` when the upload was aborted or completed by another.
 */
export function completeMultipart(
  client: S3Client,
  { key, uploadId }: Multipart,
  { parts, isConditional }: { readonly parts: readonly Part[]; readonly isConditional: boolean },
): Promise<void> {
  const body = Buffer.from(completionOf(parts))
  const headers = {
    'content-type': 'application/xml',
    ...(isConditional ? { 'if-none-match': '*' } : {}),
  }
  const request = { method: 'POST', key, query: { uploadId }, headers, body } as const
  return retrying(`Cannot complete object "${key}"`, async ({ isRepeated }) => {
    try {
      mustSucceed(await readText(await client.send(request)))
    } catch (cause) {
      if (!isConditionFailure(cause)) throw cause
      if (isRepeated && (await wasCompletedAs(client, key, parts))) return
      throw refusedCompletion(key, cause, isRepeated)
    }
  })
}

/**
 * The head is sent before the work is done, so a failure can come with status 200. S3 calls its answer
 * a result, servers that follow an old description of it a response.
 */
function mustSucceed(document: string): void {
  const code = codeIn(document)
  if (code !== '') {
    throw new S3Failure(code === 'InternalError' ? 500 : 400, code, 'Cannot complete object')
  }
  const [element = 'CompleteMultipartUploadResult'] =
    /CompleteMultipartUploadRes(ult|ponse)/.exec(document) ?? []
  mustBeWhole(document, element)
}

function refusedCompletion(key: string, cause: unknown, isRepeated: boolean): OciError {
  if (!isAbsence(cause)) return conditionFailed(key)
  // An earlier attempt may have been done, and what it made cannot be told from another's.
  if (isRepeated) return unavailable(`Cannot complete object "${key}"`, cause)
  return new OciError('not-found', `Cannot complete object "${key}": it was given up`, { cause })
}

/** No error when there is no such upload. */
export function abortMultipart(client: S3Client, { key, uploadId }: Multipart): Promise<void> {
  return retrying(`Cannot give up object "${key}"`, async () => {
    try {
      await client.sendOnly({ method: 'DELETE', key, query: { uploadId } })
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
  })
}

/**
 * Whether the object is made of exactly these parts: an answer that was lost said so. Two turns of
 * one upload may both have tried, with other last parts, so the size alone proves nothing.
 */
async function wasCompletedAs(
  client: S3Client,
  key: string,
  parts: readonly Part[],
): Promise<boolean> {
  try {
    const { etag } = await client.sendOnly({ method: 'HEAD', key })
    return etag !== undefined && bare(etag) === etagOfParts(parts)
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}

/** As all servers make it whose parts' etags are MD5. */
function etagOfParts(parts: readonly Part[]): string {
  const hash = createHash('md5')
  for (const { etag } of parts) hash.update(Buffer.from(bare(etag), 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}

function bare(etag: string): string {
  return etag.replaceAll('"', '')
}

function completionOf(parts: readonly Part[]): string {
  const lines = parts.map(
    ({ etag }, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>"${bare(etag)}"</ETag></Part>`,
  )
  const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'
  return `<CompleteMultipartUpload xmlns="${namespace}">${lines.join('')}</CompleteMultipartUpload>`
}
