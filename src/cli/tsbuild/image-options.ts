/** How images are written, from the settings of `--output` and from `--annotation`. */
import {
  type Annotation,
  annotationTargets,
  defaultImageOptions,
  type ImageOptions,
} from '../../builder/export/image-options.ts'
import { field } from '../../oci/json.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { suggest } from '../../oci/suggest.ts'
import { usageError } from '../cli-error.ts'
import { parseAs, parseBoolean, parseInteger } from '../flags/flag-values.ts'

export const imageOptionKeys = [
  'compression',
  'compression-level',
  'force-compression',
  'oci-mediatypes',
  'rewrite-timestamp',
] as const

type Settings = ReadonlyMap<string, string>

/** Throws a usage error. */
export function parseImageOptions(
  settings: Settings,
  annotations: readonly Annotation[],
): ImageOptions {
  const compression = parseCompression(settings.get('compression'))
  const level = parseLevel(settings.get('compression-level'), compression)
  return {
    ...defaultImageOptions,
    compression,
    ...(compression === 'none' ? {} : field('level', level)),
    force: switchOf(settings, 'force-compression', false),
    types: switchOf(settings, 'oci-mediatypes', true) ? 'oci' : 'docker',
    rewriteTimestamp: switchOf(settings, 'rewrite-timestamp', false),
    annotations,
  }
}

/** What users write, and what it is called here. */
const compressions: ReadonlyMap<string, ImageOptions['compression']> = new Map([
  ['gzip', 'gzip'],
  ['estargz', 'estargz'],
  ['zstd', 'zstd'],
  ['uncompressed', 'none'],
])

function parseCompression(text = 'gzip'): ImageOptions['compression'] {
  const compression = compressions.get(text)
  if (compression !== undefined) return compression
  throw usageError(`Cannot use compression=${text}: expected gzip, estargz, zstd or uncompressed`)
}

function parseLevel(
  text: string | undefined,
  compression: ImageOptions['compression'],
): number | undefined {
  if (text === undefined) return undefined
  const level = parseAs('compression-level', () => parseInteger(text))
  const [least, most] = compression === 'zstd' ? [1, 22] : [0, 9]
  if (level >= least && level <= most) return level
  throw usageError(`Cannot use compression-level=${level}: expected ${least} to ${most}`)
}

export function switchOf(settings: Settings, key: string, fallback: boolean): boolean {
  const text = settings.get(key)
  return text === undefined ? fallback : parseAs(key, () => parseBoolean(text))
}

/** `annotation-manifest[linux/amd64].KEY=VALUE` of `--output`; `undefined` for another setting. */
export function parseAnnotationField(text: string): Annotation | undefined {
  const match = /^annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.([^=]+)=(.*)$/s.exec(text)
  if (match === null) return undefined
  const [, on = 'manifest', platform, key = '', value = ''] = match
  return annotation({ on, platform, key, value }, text)
}

/** `[TYPE[,TYPE]:]KEY=VALUE` of `--annotation`. Throws a usage error. */
export function parseAnnotation(text: string): Annotation[] {
  const match = /^(?:((?:[a-z-]+(?:\[[^\]]*\])?,)*[a-z-]+(?:\[[^\]]*\])?):)?([^=]+)=(.*)$/s.exec(
    text,
  )
  if (match === null) {
    throw usageError(`Cannot use flag --annotation "${text}": expected [TYPE:]KEY=VALUE`)
  }
  const [, types = 'manifest', key = '', value = ''] = match
  return types.split(',').map(type => {
    const [, on = '', platform] = /^([a-z-]+)(?:\[([^\]]*)\])?$/.exec(type) ?? []
    return annotation({ on, platform, key, value }, text)
  })
}

interface AnnotationWords {
  readonly on: string
  readonly platform: string | undefined
  readonly key: string
  readonly value: string
}

function annotation({ on, platform, key, value }: AnnotationWords, text: string): Annotation {
  const target = annotationTargets.find(known => known === on)
  if (target === undefined) {
    const meant = suggest(on, annotationTargets)
    throw usageError(
      `Cannot use annotation "${text}": expected ${annotationTargets.join(', ')}, got "${on}"`,
      meant === undefined ? undefined : `Did you mean ${meant}?`,
    )
  }
  if (platform === undefined) return { on: target, key, value }
  const parsed = parseAs(`annotation "${text}"`, () => parsePlatform(platform))
  return { on: target, platform: parsed, key, value }
}
