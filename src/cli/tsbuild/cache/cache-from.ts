/** `--cache-from`: caches of other builds. */

import type { CachePlace } from '../../../builder/cache/cache-place.ts'
import { OciError } from '../../../oci/errors.ts'
import { type CacheTypes, type CacheWorld, parseCacheFlag, placeOf } from './cache-place-flag.ts'
import { s3Keys } from './s3-flag.ts'

const types: CacheTypes = { registry: ['ref'], local: ['src', 'tag', 'digest'], s3: s3Keys }

/** Throws a usage error. */
export function parseCacheFrom(texts: readonly string[], world: CacheWorld): CachePlace[] {
  return texts.map(text => {
    const flag = parseCacheFlag('cache-from', text, types)
    const place = placeOf(flag, world, 'src')
    return world.offline && flag.type === 's3' ? unreachable(place) : place
  })
}

function unreachable(place: CachePlace): CachePlace {
  const read = async () => {
    throw new OciError('unavailable', 'no network is to be used (--offline)')
  }
  return { ...place, read }
}
