import type { BlobReader } from '../../layerfs/content/content-store.ts'
import type { LocalImage } from '../../layerfs/runtime/local-image.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { isIndex } from '../../oci/media-type.ts'

/** What a name points at, if all of it is here: an index lacks the platforms not pulled. */
export async function wholeTarget(content: BlobReader, image: LocalImage): Promise<Descriptor> {
  const { target, descriptor } = image
  if (!isIndex(target.mediaType)) return target
  const { value } = parseManifest(await content.read(target.digest), target.mediaType)
  if (value.kind === 'manifest') return target
  const found = await Promise.all(value.manifests.map(({ digest }) => content.find(digest)))
  return found.includes(undefined) ? descriptor : target
}
