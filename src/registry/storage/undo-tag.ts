/** Sets a tag back to what it pointed at before its last change. */
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import { rescue } from './condemn.ts'
import { manifestKey } from './keys.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { ResourceError } from './resource-error.ts'
import { findManifest } from './stored-manifest.ts'
import type { TagChange } from './tag-history.ts'
import { findTag, listTagChanges, putTag, removeTag } from './tags.ts'

/**
 * Returns the change that was undone; undoing is a change like any other, so undoing twice is redoing.
 * Throws `not-found` of the tag when nothing is known of it, `not-found` of the manifest when that was
 * deleted, a conflict of the precondition when the tag changed meanwhile or in a way that the history
 * lost, and a conflict of the tag when it is immutable; nothing is changed then.
 */
export async function undoTag(
  storage: RegistryStorage,
  repository: RepositoryName,
  { tag, by }: { readonly tag: Tag; readonly by?: string },
): Promise<TagChange> {
  const [last] = await listTagChanges(storage, repository, tag)
  if (last === undefined) {
    throw new ResourceError('not-found tag', `Cannot find a change of tag "${tag}"`)
  }
  const found = await findTag(storage, repository, tag)
  if (found?.digest !== last.to) throw changed(tag)
  if (last.from !== undefined) await setBack(storage, repository, { tag, by, last })
  else if (found !== undefined) {
    if (storage.policy.isImmutable(repository, tag)) {
      throw new ResourceError('conflict tag', `Cannot remove tag "${tag}": it is immutable`)
    }
    const removal = { tag, found, ...(by === undefined ? {} : { by }) }
    if (!(await removeTag(storage, repository, removal))) throw changed(tag)
  }
  return last
}

async function setBack(
  storage: RegistryStorage,
  repository: RepositoryName,
  undo: { readonly tag: Tag; readonly by: string | undefined; readonly last: TagChange },
): Promise<void> {
  const { tag, by, last } = undo
  const digest = last.from
  const manifest =
    digest === undefined ? undefined : await findManifest(storage, repository, digest)
  if (manifest === undefined) throw isGone(tag, digest)
  const condition =
    last.to === undefined
      ? ({ kind: 'absent' } as const)
      : ({ kind: 'points-at', digests: [last.to] } as const)
  await putTag(storage, repository, { tag, manifest, condition, by })
  // Now that the tag says it is needed: it may have been condemned before.
  if ((await rescue(storage, manifestKey(repository, manifest.digest))) === undefined) {
    throw isGone(tag, digest)
  }
}

function changed(tag: Tag): ResourceError {
  return new ResourceError(
    'conflict precondition',
    `Cannot undo the last change of tag "${tag}": it points elsewhere by now`,
  )
}

function isGone(tag: Tag, digest: string | undefined): ResourceError {
  return new ResourceError(
    'not-found manifest',
    `Cannot set tag "${tag}" back: manifest "${digest}" was deleted`,
  )
}
