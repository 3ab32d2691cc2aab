/**
 * New documents in the content store.
 */
import type { Descriptor } from '../../oci/descriptor.ts'
import { digestOf } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { type BlobReader, type BlobWriter, putBlob } from '../content/content-store.ts'

/** `layers`: of the config's `diff_ids`, in their order. Returns the manifest's descriptor. */
export async function putManifest(
  config: Descriptor,
  layers: readonly Descriptor[],
  content: BlobWriter,
): Promise<Descriptor> {
  const mediaType = mediaTypes.manifest
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }))
  return await putDocument(bytes, mediaType, content)
}

export async function putDocument(
  bytes: Uint8Array,
  mediaType: string,
  content: BlobWriter,
): Promise<Descriptor> {
  const { digest, size } = await putBlob(content, [bytes])
  return { mediaType, digest, size }
}

/** As {@link putDocument}; of one that is there, whole, nothing is written. */
export async function ensureDocument(
  bytes: Uint8Array,
  mediaType: string,
  content: BlobReader & BlobWriter,
): Promise<Descriptor> {
  const digest = digestOf(bytes)
  const isThere = await content.read(digest).then(
    () => true,
    (error: unknown) => {
      if (hasCode(error, 'not-found') || hasCode(error, 'digest-mismatch')) return false
      throw error
    },
  )
  return isThere
    ? { mediaType, digest, size: bytes.byteLength }
    : putDocument(bytes, mediaType, content)
}
