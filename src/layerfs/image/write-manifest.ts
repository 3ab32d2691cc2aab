/**
 * New documents in the content store.
 */
import type { Descriptor } from '../../oci/descriptor.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { type BlobWriter, putBlob } from '../content/content-store.ts'

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
