/** On what terms a tag may be set, and what it is told to whom it may not. */
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'
import type { StoredTag, TaggedManifest } from './stored-tag.ts'

/** What must be true of a tag for it to be set, decided and written as one step. */
export type TagCondition =
  | { readonly kind: 'absent' }
  /** It must point at one of these; none listed: at anything. */
  | { readonly kind: 'points-at'; readonly digests: readonly string[] }

export interface TagWrite {
  readonly tag: Tag
  readonly manifest: TaggedManifest
  readonly condition?: TagCondition | undefined
  /** Whether a tag that exists may be moved; default: it may. */
  readonly mayOverwrite?: boolean | undefined
  readonly by?: string | undefined
  /** The tag as it was a moment ago: the first attempt does without looking. */
  readonly seen?: SeenTag
  /** Of {@link newTag}, for the first attempt. */
  readonly record?: Uint8Array
}

export interface SeenTag {
  /** Also of an object that says nothing; `undefined` when there is none. */
  readonly etag: string | undefined
  readonly found: StoredTag | undefined
  /** It was so when it was last looked at or written here. */
  readonly isGuess?: true
}

interface TagToJudge extends TagWrite {
  readonly found: StoredTag | undefined
}

/** Throws the {@link refusal}, if there is one. */
export function mustAllow(
  storage: RegistryStorage,
  repository: RepositoryName,
  write: TagToJudge,
): void {
  const refused = refusal(storage, repository, write)
  if (refused !== undefined) throw refused
}

/** Why the tag may not be set, as it is. */
export function refusal(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, manifest, condition, mayOverwrite, found }: TagToJudge,
): ResourceError | undefined {
  if (condition?.kind === 'absent' && found !== undefined) return preconditionFailed(tag)
  if (condition?.kind === 'points-at') {
    const { digests } = condition
    const isMet = found !== undefined && (digests.length === 0 || digests.includes(found.digest))
    if (!isMet) return preconditionFailed(tag)
  }
  // Once more the same is no change: a client that lost the answer may repeat its push.
  if (found === undefined || found.digest === manifest.digest) return undefined
  if (storage.policy.isImmutable(repository, tag)) return isImmutable(tag)
  return mayOverwrite === false ? isNotTheirs(tag) : undefined
}

export function isImmutable(tag: Tag): ResourceError {
  return new ResourceError('conflict tag', `Cannot change tag "${tag}": it is immutable`, {
    detail: { tag },
  })
}

function isNotTheirs(tag: Tag): ResourceError {
  return new ResourceError(
    'denied tag',
    `Cannot change tag "${tag}": it exists, and you may create tags but not overwrite them`,
    { detail: { tag } },
  )
}

function preconditionFailed(tag: Tag): ResourceError {
  return new ResourceError(
    'conflict precondition',
    `Cannot set tag "${tag}": it does not match the condition of the request`,
    { detail: { tag } },
  )
}
