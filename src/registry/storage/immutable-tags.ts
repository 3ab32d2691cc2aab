/** `repositories:tags`, both patterns: `release/**:v*`. What they match is set once and stays. */
import { OciError, printable } from '../../oci/errors.ts'
import { matchesGlob } from './glob.ts'
import type { StoragePolicy } from './registry-storage.ts'

/** Throws `invalid`, quoting the pattern. */
export function parseImmutableTags(patterns: readonly string[]): StoragePolicy['isImmutable'] {
  const parsed = patterns.map(text => {
    const [, repositories, tags] = /^([^:\s]+):([^:\s]+)$/.exec(text) ?? []
    if (repositories === undefined || tags === undefined) {
      throw new OciError(
        'invalid',
        `expected REPOSITORIES:TAGS such as "app/**:v*", got "${printable(text, 80)}"`,
      )
    }
    return { repositories, tags }
  })
  return (repository, tag) =>
    parsed.some(
      pattern => matchesGlob(pattern.tags, tag) && matchesGlob(pattern.repositories, repository),
    )
}
