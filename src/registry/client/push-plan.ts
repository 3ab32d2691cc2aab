/**
 * PushPlan: everything below a root, in the order in which a registry can accept it.
 *
 * Blobs before the manifests that name them, manifests before the indexes that name them, the root
 * last: whoever sees a name in the registry can pull all of it.
 */
import type { BlobReader } from '../../layerfs/content/content-store.ts'
import type { Descriptor, Document } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { type Index, type Manifest, parseManifest } from '../../oci/manifest.ts'
import { isForeignLayer, isIndex, isManifest } from '../../oci/media-type.ts'
import { maxManifestSize } from './resolve.ts'

export interface PushPlan {
  readonly blobs: readonly Descriptor[]
  /** Each level may be pushed in parallel; the last is the root alone. */
  readonly levels: readonly (readonly PlannedManifest[])[]
}

export interface PlannedManifest {
  readonly mediaType: string
  readonly document: Document<Manifest | Index>
}

/** What a hostile or broken store could make us walk is bounded. */
const maxDepth = 5
const maxManifests = 1000

/**
 * Reads every manifest below `root` from `from`. Throws `not-found` for one that is missing,
 * `invalid` for one that cannot be parsed, `too-large` for more than anybody pushes.
 */
export async function planPush(from: BlobReader, root: Descriptor): Promise<PushPlan> {
  const levels: PlannedManifest[][] = []
  let count = 0
  let level: readonly Descriptor[] = [root]
  while (level.length > 0) {
    count += level.length
    if (levels.length === maxDepth || count > maxManifests) throw tooLarge(root)
    const manifests: PlannedManifest[] = []
    for (const descriptor of level) manifests.push(await readManifest(from, descriptor))
    levels.unshift(manifests)
    level = childrenOf(manifests)
  }
  return { blobs: blobsOf(levels.flat()), levels: withoutRepeats(levels) }
}

/** A manifest that is named at several depths stays at the deepest: it must be there first. */
function withoutRepeats(levels: readonly (readonly PlannedManifest[])[]): PlannedManifest[][] {
  const seen = new Set<Digest>()
  return levels.map(level =>
    level.filter(({ document: { digest } }) => !seen.has(digest) && seen.add(digest)),
  )
}

async function readManifest(from: BlobReader, descriptor: Descriptor): Promise<PlannedManifest> {
  const { digest, mediaType } = descriptor
  const bytes = await from.read(digest, maxManifestSize)
  const document = { ...parseManifest(bytes, mediaType), digest }
  return { mediaType: document.value.mediaType, document }
}

function childrenOf(manifests: readonly PlannedManifest[]): Descriptor[] {
  const children = manifests.flatMap(({ document: { value } }) =>
    value.kind === 'index' ? value.manifests : [],
  )
  return unique(children).filter(({ mediaType }) => isIndex(mediaType) || isManifest(mediaType))
}

function blobsOf(manifests: readonly PlannedManifest[]): Descriptor[] {
  const images = manifests.flatMap(({ document: { value } }) =>
    value.kind === 'manifest' ? [value] : [],
  )
  const layers = images
    .flatMap(image => image.layers)
    // Nobody but their publisher may store their bytes.
    .filter(({ mediaType }) => !isForeignLayer(mediaType))
  return unique([...layers, ...images.map(image => image.config)])
}

function unique(descriptors: readonly Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map(one => [one.digest, one])).values()]
}

function tooLarge(root: Descriptor): OciError {
  return new OciError(
    'too-large',
    `Cannot push ${root.digest}: more than ${maxManifests} manifests, or nested deeper than ${maxDepth}`,
  )
}
