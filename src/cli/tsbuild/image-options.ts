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
import { parseAs, parseBoolean, parseInteger } from '../flag-values.ts'

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
  const levelText = settings.get('compression-level')
  const level =
    levelText === undefined
      ? undefined
      : parseAs('compression-level', () => parseInteger(levelText))
  if (level !== undefined && (level < 0 || level > 9)) {
    throw usageError(`Cannot use compression-level=${level}: expected 0 to 9`)
  }
  const compression = parseCompression(settings.get('compression'))
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

function parseCompression(text = 'gzip'): ImageOptions['compression'] {
  if (text === 'gzip') return 'gzip'
  if (text === 'uncompressed') return 'none'
  if (text === 'zstd' || text === 'estargz') {
    throw usageError(`Output option compression=${text} is not supported yet`)
  }
  throw usageError(`Cannot use compression=${text}: expected gzip or uncompressed`)
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
