/** What was begun and neither completed nor given up: found by listing, removed by its progress. */
import type { Unfinished } from '../object-store.ts'
import { elements, firstElement, type Listing, listKeys, mustBeWhole } from './listing.ts'
import { abortMultipart } from './multipart.ts'
import { keyOfPiece, piecesPrefix, removePieces } from './pieces.ts'
import { checkpointOf, noProgress, type Progress } from './progress.ts'
import { retrying } from './retries.ts'
import { keyIn, type S3Client } from './s3-client.ts'
import { readText } from './s3-failure.ts'

interface Bucket {
  readonly client: S3Client
  readonly listing: Listing
}

/** The object itself stays, if it is there: it was completed. */
export async function discardProgress(
  { client }: Bucket,
  key: string,
  { uploadId, pieces, spent }: Progress,
): Promise<void> {
  if (uploadId !== undefined) await abortMultipart(client, { key, uploadId })
  await removePieces(client, [...pieces.map(piece => piece.key), ...spent])
}

export async function* unfinishedObjects(
  bucket: Bucket,
  prefix: string,
): AsyncGenerator<Unfinished> {
  let startAfter = piecesPrefix
  for (;;) {
    const keys = await listKeys(bucket, piecesPrefix, { startAfter, max: 1000 })
    for (const piece of keys) {
      const key = keyOfPiece(piece)
      if (key.startsWith(prefix)) yield unfinished(key, { ...noProgress, spent: [piece] })
    }
    startAfter = keys.at(-1) ?? ''
    if (keys.length < 1000) break
  }
  for await (const { key, uploadId } of multipartUploads(bucket.client, prefix)) {
    yield unfinished(key, { ...noProgress, uploadId })
  }
}

function unfinished(key: string, progress: Progress): Unfinished {
  return { key, checkpoint: checkpointOf(progress) }
}

async function* multipartUploads(client: S3Client, prefix: string) {
  const skip = keyIn(client.options, '').length
  let next: Record<string, string> | undefined = {}
  while (next !== undefined) {
    const query = { uploads: '', prefix: keyIn(client.options, prefix), ...next }
    const document = await retrying('Cannot list multipart uploads', async () =>
      readText(await client.send({ method: 'GET', query })),
    )
    mustBeWhole(document, 'ListMultipartUploadsResult')
    for (const upload of document.split('<Upload>').slice(1)) {
      const [key = ''] = elements(upload, 'Key')
      const [uploadId = ''] = elements(upload, 'UploadId')
      if (uploadId !== '') yield { key: key.slice(skip), uploadId }
    }
    next = nextPage(document)
  }
}

function nextPage(document: string): Record<string, string> | undefined {
  if (firstElement(document, 'IsTruncated') !== 'true') return undefined
  const key = firstElement(document, 'NextKeyMarker')
  const id = firstElement(document, 'NextUploadIdMarker')
  if (key === undefined || id === undefined) return undefined
  return { 'key-marker': key, 'upload-id-marker': id }
}
