/** `--cache-to`: where the build's cache goes, and in which form. */
import type { CacheDestination } from '../../../builder/cache/export-cache.ts'
import { changesLayers } from '../../../builder/export/image-options.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs, parseBoolean, parseChoice } from '../../flags/flag-values.ts'
import { parseImageOptions } from '../image-options.ts'
import {
  type CacheFlag,
  type CacheTypes,
  type CacheWorld,
  parseCacheFlag,
  placeOf,
} from './cache-place-flag.ts'
import { s3Keys } from './s3-flag.ts'

const forms = [
  'mode',
  'image-manifest',
  'oci-mediatypes',
  'compression',
  'compression-level',
  'force-compression',
  'ignore-error',
  'cache-mounts',
] as const

const types: CacheTypes = {
  inline: ['mode'],
  registry: ['ref', ...forms],
  local: ['dest', 'tag', 'reset', ...forms],
  s3: [...s3Keys, ...forms.filter(key => key !== 'image-manifest' && key !== 'oci-mediatypes')],
}

export interface CacheTo {
  /** Whether images carry their own. */
  readonly inline: boolean
  readonly destinations: readonly CacheDestination[]
}

/** Throws a usage error. */
export function parseCacheTo(texts: readonly string[], world: CacheWorld): CacheTo {
  const flags = texts.map(text => parseCacheFlag('cache-to', text, types))
  const inline = flags.filter(({ type }) => type === 'inline')
  if (inline.some(({ settings }) => settings.get('mode') === 'max')) {
    throw usageError(
      'Cannot use flag --cache-to type=inline,mode=max: an image has the layers of its own steps alone',
      'Use type=registry',
    )
  }
  const others = flags.filter(({ type }) => type !== 'inline')
  const far = world.offline ? others.find(({ type }) => type !== 'local') : undefined
  if (far !== undefined) {
    throw usageError(`Flag --offline allows no network, and ${far.subject} needs it`)
  }
  return {
    inline: inline.length > 0,
    destinations: others.map(flag => destinationOf(flag, world)),
  }
}

/** Ids are paths or words; a semicolon is in neither. */
function mountsOf(text = ''): CacheDestination['mounts'] {
  return text === 'all' ? 'all' : text.split(';').filter(id => id !== '')
}

const kinds: Readonly<Record<string, string>> = { local: 'client directory' }

function destinationOf(flag: CacheFlag, world: CacheWorld): CacheDestination {
  const { type, settings, subject } = flag
  const isOn = (key: string, fallback: boolean) => {
    const text = settings.get(key)
    return text === undefined ? fallback : parseAs(`${key} of ${subject}`, () => parseBoolean(text))
  }
  const oci = isOn('oci-mediatypes', true)
  const isImage = isOn('image-manifest', oci)
  if (isImage && !oci) {
    throw usageError(`Cannot use ${subject}: image-manifest=true needs oci-mediatypes=true`)
  }
  const layers = parseImageOptions(settings, [])
  if (changesLayers(layers)) {
    throw usageError(
      `Cannot use ${subject}: a cache has the layers as its steps made them`,
      'Use compression=gzip, zstd or uncompressed',
    )
  }
  const mode = settings.get('mode') ?? 'min'
  return {
    kind: kinds[type] ?? type,
    place: placeOf(flag, world, 'dest'),
    mode: parseAs(`mode of ${subject}`, () => parseChoice(mode, ['min', 'max'])) as 'min' | 'max',
    form: { kind: isImage ? 'image' : 'list', types: oci ? 'oci' : 'docker' },
    layers,
    mounts: mountsOf(settings.get('cache-mounts')),
    ignoreError: isOn('ignore-error', false),
  }
}
