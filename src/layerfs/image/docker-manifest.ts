/**
 * The archive of a `docker save` from before it wrote OCI layouts: manifest.json names a config and
 * layers by their place in the archive. An OCI manifest is made for them.
 *
 * Spec: moby image/tarexport, manifestItem.
 */
import type { Descriptor } from '../../oci/descriptor.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { parseImageConfig } from '../../oci/image-config.ts'
import {
  asArray,
  asString,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from '../../oci/json.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { parseReference } from '../../oci/reference.ts'
import { detectEncoding } from '../compression/decompress.ts'
import type { BlobInfo, ContentStore } from '../content/content-store.ts'
import { dockerManifestFile, type NamedImage } from './archive-layout.ts'
import { documentOf, type ReadArchive } from './read-archive.ts'
import { layerTypeOf } from './sniff-encoding.ts'
import { putManifest } from './write-manifest.ts'

/** Every image once per name, or once without any. Throws `invalid`. */
export async function importDockerManifest(
  archive: ReadArchive,
  content: ContentStore,
): Promise<NamedImage[]> {
  const images: NamedImage[] = []
  const node = parseJson(dockerManifestFile, documentOf(archive, dockerManifestFile))
  for (const image of asArray(node)) {
    const target = await importOne(image, archive, content)
    const tags = optional(member(image, 'RepoTags'), asArray) ?? []
    if (tags.length === 0) images.push({ target })
    for (const tag of tags) images.push({ reference: parseReference(asString(tag)), target })
  }
  return images
}

async function importOne(
  image: JsonNode,
  archive: ReadArchive,
  content: ContentStore,
): Promise<Descriptor> {
  const configBlob = blobAt(member(image, 'Config'), archive)
  const config = parseImageConfig(await content.read(configBlob.digest))
  const layers: Descriptor[] = []
  for (const layer of asArray(member(image, 'Layers'))) {
    const blob = blobAt(layer, archive)
    layers.push({ mediaType: await layerType(blob, content), ...blob })
  }
  if (layers.length !== config.value.rootfs.diff_ids.length) {
    throw mismatch(member(image, 'Layers'), `${config.value.rootfs.diff_ids.length} layers`)
  }
  return await putManifest({ mediaType: mediaTypes.config, ...configBlob }, layers, content)
}

function blobAt(node: JsonNode, { blobs }: ReadArchive): BlobInfo {
  const path = asString(node)
  const blob = blobs.get(path)
  if (blob !== undefined) return blob
  throw new OciError(
    'invalid',
    `Cannot import archive: "${printable(path)}", which ${dockerManifestFile} names, is not in it`,
  )
}

/** By its first bytes: the archive does not say. */
async function layerType({ digest }: BlobInfo, content: ContentStore): Promise<string> {
  for await (const head of content.open(digest, { start: 0, end: 16 })) {
    return layerTypeOf(detectEncoding(head))
  }
  return layerTypeOf('none')
}
