/** Images of the store, by the words people use for them: a name, an id, the start of an id. */
import type { Descriptor, Document } from '../../oci/descriptor.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { type Index, type Manifest, parseManifest, selectManifest } from '../../oci/manifest.ts'
import type { Platform } from '../../oci/platform.ts'
import { parseReference, type Reference } from '../../oci/reference.ts'
import type { BlobReader } from '../content/content-store.ts'
import type { ImageRecord, ImageStore, NamedTarget } from '../image/image-store.ts'

export interface ImageDocuments {
  /** Of the manifest for the platform. */
  readonly descriptor: Descriptor
  readonly manifest: Document<Manifest>
  /** Its digest is the image's id. */
  readonly config: Document<ImageConfig>
}

export interface LocalImage extends ImageDocuments {
  /** What the name points at: the manifest, or the index it was chosen from. */
  readonly target: Descriptor
  readonly reference: Reference | undefined
}

export interface ImageSource {
  readonly images: Pick<ImageStore, 'get' | 'hold' | 'list'>
  readonly content: BlobReader
}

const maxDocumentSize = 8 * 1024 * 1024
const maxIndexDepth = 4

/**
 * The manifest and config that `target` leads to: for `platform`, or for another one when only that
 * is in the store. Throws `not-found` when none is, and `invalid` for what is no image.
 */
export async function readImage(
  content: BlobReader,
  target: Descriptor,
  platform: Platform,
): Promise<ImageDocuments> {
  let descriptor = target
  for (let depth = 0; depth <= maxIndexDepth; depth++) {
    const document = await readManifest(content, descriptor)
    if (document.value.kind === 'manifest') {
      const manifest = { ...document, value: document.value }
      const bytes = await content.read(manifest.value.config.digest, maxDocumentSize)
      return { descriptor, manifest, config: parseImageConfig(bytes) }
    }
    descriptor = await selectPresent(content, document.value, platform)
  }
  throw new OciError('invalid', `Cannot read image ${target.digest}: indexes nested too deep`)
}

/** A pull brings one platform of an index: whichever it was, that is the image we have. */
async function selectPresent(
  content: BlobReader,
  index: Index,
  platform: Platform,
): Promise<Descriptor> {
  const isPresent = async ({ digest }: Descriptor) => (await content.find(digest)) !== undefined
  const suitable = findManifest(index, platform)
  if (suitable !== undefined && (await isPresent(suitable))) return suitable
  for (const descriptor of index.manifests) {
    if (await isPresent(descriptor)) return descriptor
  }
  return suitable ?? selectManifest(index, platform)
}

function findManifest(index: Index, platform: Platform): Descriptor | undefined {
  try {
    return selectManifest(index, platform)
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
}

async function readManifest(
  content: BlobReader,
  { digest, mediaType }: Descriptor,
): Promise<Document<Manifest | Index>> {
  return parseManifest(await content.read(digest, maxDocumentSize), mediaType)
}

/** All of them, by name; one whose blobs are gone is left out. */
export async function listImages(place: ImageSource, platform: Platform): Promise<LocalImage[]> {
  const records = await place.images.list()
  const images = records.map(record =>
    readImageOf(place.content, record, platform).catch(ignoreUnreadable),
  )
  return (await Promise.all(images)).filter(image => image !== undefined)
}

/**
 * The image that `text` names: a reference first, then the start of an id. Throws `not-found`, and
 * `invalid` when several ids start so or `text` is neither.
 */
export async function findImage(
  place: ImageSource,
  text: string,
  platform: Platform,
): Promise<LocalImage> {
  const named = await findByName(place, text)
  if (named !== undefined) return readImageOf(place.content, named, platform)
  const hex = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(text)?.[1]
  const matching =
    hex === undefined
      ? []
      : (await listImages(place, platform)).filter(image => hasId(image, `sha256:${hex}`))
  const [first] = matching
  if (first === undefined) {
    throw new OciError('not-found', `Cannot find image "${printable(text)}" in the store`)
  }
  if (matching.every(({ config }) => config.digest === first.config.digest)) {
    return await held(first, place, text)
  }
  throw new OciError('invalid', `Cannot find image "${printable(text)}": several ids start with it`)
}

/** A list holds nothing: the image may have been removed since. */
async function held<Image extends NamedTarget>(
  image: Image,
  { images }: ImageSource,
  text: string,
): Promise<Image> {
  if (await images.hold(image)) return image
  throw new OciError('not-found', `Cannot find image "${printable(text)}" in the store any more`)
}

/** `undefined` also for what only an id can be. */
async function findByName(place: ImageSource, text: string): Promise<ImageRecord | undefined> {
  const { images } = place
  if (/^sha256:[0-9a-f]+$/.test(text)) return undefined
  const reference = parseReference(text)
  const exact = await images.get(reference)
  if (exact !== undefined || reference.digest === undefined) return exact
  // "name@digest": any name of that repository that points there.
  const known = (await images.list()).find(
    ({ reference: name, target }) =>
      target.digest === reference.digest &&
      name?.registry === reference.registry &&
      name.repository === reference.repository,
  )
  return known === undefined ? undefined : await held(known, place, text)
}

async function readImageOf(
  content: BlobReader,
  { reference, target }: ImageRecord,
  platform: Platform,
): Promise<LocalImage> {
  return { ...(await readImage(content, target, platform)), target, reference }
}

/** As docker's users know both: the config's digest, and the manifest's from a push or pull. */
function hasId({ config, descriptor, target }: LocalImage, start: string): boolean {
  return [config.digest, descriptor.digest, target.digest].some(id => id.startsWith(start))
}

function ignoreUnreadable(error: unknown): undefined {
  if (!hasCode(error, 'not-found') && !hasCode(error, 'invalid')) throw error
}
