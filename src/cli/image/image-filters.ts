/** What `images` is asked for: a pattern of names, and `--filter`, by docker's keys. */
import { compileGlob, globMatches } from '../../builder/dockerfile/glob.ts'
import type { LocalImage } from '../../layerfs/runtime/local-image.ts'
import { printable } from '../../oci/errors.ts'
import {
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
} from '../../oci/reference.ts'
import { usageError } from '../cli-error.ts'
import { type FilterTable, labelFilters, truthFrom } from '../lists/filters.ts'
import { parseMoment } from '../moment.ts'

export interface Listing {
  /** Of which some filters name one to compare with. */
  readonly all: readonly LocalImage[]
  readonly now: Date
}

/** Throws, as the table of any list does, for values that no image can have. */
export function imageFilters({ all, now }: Listing): FilterTable<LocalImage> {
  return {
    before: value => {
      const time = madeAt(imageNamed(all, value))
      return image => madeAt(image) < time
    },
    dangling: value => {
      const isWanted = truthFrom('dangling', value)
      return ({ reference }) => (reference === undefined) === isWanted
    },
    ...labelFilters<LocalImage>(({ config }) => config.value.config?.Labels),
    reference: matchesName,
    since: value => {
      const time = madeAt(imageNamed(all, value))
      return image => madeAt(image) > time
    },
    until: value => {
      const time = parseMoment('--filter until', value, now)
      return image => madeAt(image) < time
    },
  }
}

/**
 * A pattern of shells for a repository with or without its tag or digest, as people write it; in
 * full it is a name and no pattern. `*` ends at a slash. Throws a usage error when it is malformed.
 */
function matchesName(pattern: string): (image: LocalImage) => boolean {
  const glob = globFrom(pattern)
  return image =>
    namesOf(image).some(
      name => globMatches(glob, familiarReference(name)) || formatReference(name) === pattern,
    )
}

function globFrom(pattern: string) {
  try {
    return compileGlob(pattern)
  } catch {
    throw usageError(
      `Cannot find images by "${printable(pattern)}": expected a name, or a pattern such as "app*" or "app:1.[0-9]"`,
    )
  }
}

function namesOf({ reference, target }: LocalImage): Reference[] {
  if (reference === undefined) return []
  const { registry, repository } = reference
  return [{ registry, repository }, reference, { registry, repository, digest: target.digest }]
}

/** Milliseconds of the epoch; an image that does not say when is the oldest. */
function madeAt({ config }: LocalImage): number {
  const time = Date.parse(config.value.created ?? '')
  return Number.isNaN(time) ? 0 : time
}

/** By name, or by the start of an id. */
function imageNamed(all: readonly LocalImage[], text: string): LocalImage {
  const hex = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(text)?.[1]
  const found =
    all.find(image => isCalled(image, text)) ??
    all.find(({ config }) => hex !== undefined && config.digest.startsWith(`sha256:${hex}`))
  if (found !== undefined) return found
  throw usageError(`Cannot filter by image "${printable(text)}": there is none of that name or id`)
}

function isCalled({ reference }: LocalImage, text: string): boolean {
  if (reference === undefined || /^sha256:[0-9a-f]+$/.test(text)) return false
  return formatReference(parseReference(text)) === formatReference(reference)
}
