/** An image of an OCI layout directory as a base: `--build-context name=oci-layout://…` (F11). */
import type { ContentStore } from '../layerfs/content/content-store.ts'
import type { NamedImage } from '../layerfs/image/archive-layout.ts'
import { importLayout } from '../layerfs/image/import-image.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { OciError, printable } from '../oci/errors.ts'

export interface LayoutImage {
  readonly directory: string
  /** A tag or a digest; absent: the only image there, else `latest`. */
  readonly version?: string
}

export function layoutName({ directory, version }: LayoutImage): string {
  const separator = version?.includes(':') === true ? '@' : ':'
  const suffix = version === undefined ? '' : `${separator}${version}`
  return printable(`oci-layout://${directory}${suffix}`)
}

/**
 * Brings the layout's images into the store and says which one is meant. Throws `not-found` when it
 * is not there, `invalid` when the directory is no layout or incomplete.
 */
export async function importLayoutImage(
  layout: LayoutImage,
  content: ContentStore,
): Promise<Descriptor> {
  const images = await importLayout(layout.directory, content)
  const found = choose(images, layout.version)
  if (found !== undefined) return found.target
  const tags = images.map(({ reference }) => reference?.tag).filter(tag => tag !== undefined)
  throw new OciError('not-found', `Cannot find image "${layoutName(layout)}"`, {
    ...(tags.length === 0 ? {} : { hint: `it has ${tags.join(', ')}` }),
  })
}

function choose(images: readonly NamedImage[], version: string | undefined) {
  if (version === undefined && images.length === 1) return images[0]
  return images.find(
    ({ target, reference }) =>
      target.digest === version || reference?.tag === (version ?? 'latest'),
  )
}
