/** How an image is written: what `--output` says after its type. Reference: builder.md §2.2. */
import { OciError } from '../../oci/errors.ts'
import { formatPlatform, type Platform } from '../../oci/platform.ts'

export interface ImageOptions {
  readonly compression: 'gzip' | 'estargz' | 'zstd' | 'none'
  /** 0 to 9; of zstd 1 to 22. */
  readonly level?: number
  /** Layers of base images, too, are compressed so; otherwise they stay as they were received. */
  readonly force: boolean
  /** Docker's media types are for registries and tools that do not know OCI's. */
  readonly types: 'oci' | 'docker'
  readonly annotations: readonly Annotation[]
  /** The build's own layers have no time later than SOURCE_DATE_EPOCH. */
  readonly rewriteTimestamp: boolean
}

export interface Annotation {
  readonly on: AnnotationTarget
  /** Of a manifest: only the one for this platform. */
  readonly platform?: Platform
  readonly key: string
  readonly value: string
}

export const annotationTargets = [
  'manifest',
  'index',
  'manifest-descriptor',
  'index-descriptor',
] as const

export type AnnotationTarget = (typeof annotationTargets)[number]

export const defaultImageOptions: ImageOptions = {
  compression: 'gzip',
  force: false,
  types: 'oci',
  annotations: [],
  rewriteTimestamp: false,
}

/** Whether the image's layers are other ones, by diff ID, than the steps made. */
export function changesLayers({ rewriteTimestamp, compression }: ImageOptions): boolean {
  return rewriteTimestamp || compression === 'estargz'
}

/** As a member of a document: none when nothing is said of it; the last of equal keys stands. */
export function annotationsOf(
  { annotations }: Pick<ImageOptions, 'annotations'>,
  on: AnnotationTarget,
  platform?: Platform,
): { annotations?: Readonly<Record<string, string>> } {
  const found = annotations.filter(
    one => one.on === on && (one.platform === undefined || isSame(one.platform, platform)),
  )
  if (found.length === 0) return {}
  return { annotations: Object.fromEntries(found.map(({ key, value }) => [key, value])) }
}

function isSame(one: Platform, other: Platform | undefined): boolean {
  return other !== undefined && formatPlatform(one) === formatPlatform(other)
}

/** Throws `invalid` for what the platforms make impossible. */
export function checkImageOptions(
  options: ImageOptions,
  { platforms, asIndex }: { readonly platforms: readonly Platform[]; readonly asIndex: boolean },
): void {
  const { annotations, types } = options
  if (types === 'docker' && annotations.length > 0) {
    throw new OciError(
      'invalid',
      "Annotations need OCI's media types: leave oci-mediatypes=false out",
    )
  }
  if (types === 'docker' && options.compression === 'estargz') {
    throw new OciError(
      'invalid',
      "compression=estargz needs OCI's media types: leave oci-mediatypes=false out",
    )
  }
  const ofIndex = annotations.find(({ on }) => on === 'index' || on === 'index-descriptor')
  if (ofIndex !== undefined && !asIndex) {
    throw new OciError('invalid', 'index annotations not supported for single platform export')
  }
  const stray = annotations.find(
    ({ platform }) => platform !== undefined && !platforms.some(one => isSame(one, platform)),
  )
  if (stray?.platform !== undefined) {
    throw new OciError(
      'invalid',
      `Cannot annotate "${stray.key}" of ${formatPlatform(stray.platform)}: that platform is not built`,
    )
  }
}
