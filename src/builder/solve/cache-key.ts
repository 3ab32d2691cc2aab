/**
 * Cache keys: which earlier result may stand for a step.
 *
 * A key is the digest of named parts: the step's definition and, for everything it reads, the
 * identity of the *content* (a chain ID, a digest of files). Times, paths outside the build and
 * names of stages are in no key. Reference: K01–K07.
 */
import { digestOf } from '../../oci/digest.ts'
import type { CacheKey, KeyParts } from './graph.ts'

/** Raised when the meaning of a part changes: results of older programs are then not found. */
const keyVersion = '1'

/** The order of the parts does not matter; their names and values do. */
export function cacheKey(parts: KeyParts): CacheKey {
  const sorted = Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1))
  return digestOf(JSON.stringify([keyVersion, sorted])) as CacheKey
}
