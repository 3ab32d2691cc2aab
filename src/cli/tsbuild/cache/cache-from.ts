/** `--cache-from`: caches of other builds. */

import type { CachePlace } from '../../../builder/cache/cache-place.ts'
import { type CacheTypes, type CacheWorld, parseCacheFlag, placeOf } from './cache-place-flag.ts'
import { s3Keys } from './s3-flag.ts'

const types: CacheTypes = { registry: ['ref'], local: ['src', 'tag', 'digest'], s3: s3Keys }

/** Throws a usage error. */
export function parseCacheFrom(texts: readonly string[], world: CacheWorld): CachePlace[] {
  return texts.map(text => placeOf(parseCacheFlag('cache-from', text, types), world, 'src'))
}
