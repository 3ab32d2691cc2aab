/** `--immutable-tags`, of each command that may change or remove tags. */
import { parseImmutableTags } from '../../registry/storage/immutable-tags.ts'
import type { StoragePolicy } from '../../registry/storage/registry-storage.ts'
import { parseAs } from '../flags/flag-values.ts'

export function immutableTagsFlag(help: string) {
  return {
    'immutable-tags': { kind: 'strings', value: 'REPOSITORIES:TAGS', help },
  } as const
}

/** Throws a usage error for a pattern that is none. */
export function isImmutableFrom(flags: {
  readonly 'immutable-tags': readonly string[]
}): StoragePolicy['isImmutable'] {
  return parseAs('flag --immutable-tags', () => parseImmutableTags(flags['immutable-tags']))
}
