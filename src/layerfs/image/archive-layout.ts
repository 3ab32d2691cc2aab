/**
 * Names and documents of the two archive formats, which one archive can be at once:
 *
 *   oci-layout                  { "imageLayoutVersion": "1.0.0" }
 *   index.json                  the images, each with its name as an annotation
 *   manifest.json               the same for `docker load`: Config, RepoTags, Layers
 *   blobs/<algorithm>/<hex>
 *
 * Spec: image-spec image-layout.md; moby image/tarexport.
 */
import type { Descriptor } from '../../oci/descriptor.ts'
import { algorithmOf, type Digest, hexOf, isAlgorithm, parseDigest } from '../../oci/digest.ts'
import { hasCode } from '../../oci/errors.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import {
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
} from '../../oci/reference.ts'

export const layoutFile = 'oci-layout'
export const indexFile = 'index.json'
export const dockerManifestFile = 'manifest.json'

/** Where containerd and docker keep the whole name. */
const nameAnnotation = 'io.containerd.image.name'

/** The tag alone, or, by podman and skopeo, whatever was given as the name. */
const refNameAnnotation = 'org.opencontainers.image.ref.name'

export interface NamedImage {
  readonly reference?: Reference
  /** A manifest or an index. */
  readonly target: Descriptor
}

export function blobPath(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
}

/** The digest that a member's name promises; `undefined` when it is no blob's name. */
export function digestOfPath(path: string): Digest | undefined {
  const [, algorithm = '', hex] = /^blobs\/([^/]+)\/([^/]+)$/.exec(path) ?? []
  if (!isAlgorithm(algorithm)) return undefined
  try {
    return parseDigest(`${algorithm}:${hex}`)
  } catch (error) {
    if (hasCode(error, 'invalid')) return undefined
    throw error
  }
}

export function layoutDocument(): string {
  return JSON.stringify({ imageLayoutVersion: '1.0.0' })
}

export function indexDocument(
  images: readonly NamedImage[],
  others: readonly Descriptor[] = [],
): string {
  const named = images.map(({ reference, target }) => {
    const names = reference === undefined ? {} : nameAnnotations(reference)
    const annotations = { ...target.annotations, ...names }
    return Object.keys(annotations).length === 0 ? target : { ...target, annotations }
  })
  const manifests = [...others, ...named]
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests })
}

function nameAnnotations(reference: Reference): Record<string, string> {
  return {
    [nameAnnotation]: formatReference(reference),
    [refNameAnnotation]: reference.tag ?? familiarReference(reference),
  }
}

/** The name that an index gives one of its images. A bare tag names nothing. */
export function referenceFrom(
  annotations: Readonly<Record<string, string>> = {},
): Reference | undefined {
  const refName = annotations[refNameAnnotation]
  const name = annotations[nameAnnotation] ?? (/[:/]/.test(refName ?? '') ? refName : undefined)
  if (name === undefined) return undefined
  try {
    return parseReference(name)
  } catch (error) {
    // A name that we cannot use loses the name, not the image.
    if (hasCode(error, 'invalid')) return undefined
    throw error
  }
}

/** The image under a name of the archive's own, which need be no reference: `oci:DIRECTORY:NAME`. */
export function calledInLayout(target: Descriptor, name: string): NamedImage {
  return {
    target: { ...target, annotations: { ...target.annotations, [refNameAnnotation]: name } },
  }
}

/** What the archive calls an image, for people. */
export function nameInLayout({ reference, target }: NamedImage): string | undefined {
  if (reference !== undefined) return familiarReference(reference)
  return target.annotations?.[refNameAnnotation]
}

/** Whether `name` is what the archive calls the image: to the letter, or as a reference. */
export function isCalled({ reference, target }: NamedImage, name: string): boolean {
  if (target.annotations?.[refNameAnnotation] === name) return true
  if (reference === undefined) return false
  try {
    return formatReference(parseReference(name)) === formatReference(reference)
  } catch (error) {
    if (hasCode(error, 'invalid')) return false
    throw error
  }
}
