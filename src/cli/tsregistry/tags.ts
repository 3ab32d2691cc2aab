/** `tsregistry tags`: what a tag pointed at before, and setting it back. */
import { OciError } from '../../oci/errors.ts'
import { parseRepositoryName, parseTag } from '../../oci/reference.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import type { TagChange } from '../../registry/storage/tag-history.ts'
import { findTag, listTagChanges } from '../../registry/storage/tags.ts'
import { undoTag } from '../../registry/storage/undo-tag.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { parseAs } from '../flags/flag-values.ts'
import { formatTable } from '../lists/table.ts'
import { immutableTagsFlag, isImmutableFrom } from './immutable-tags-flag.ts'
import { openExistingStorage, storageFlags, storagePlace } from './storage-place.ts'

export const tagsCommand: Command = defineCommand({
  name: 'tags',
  usage: '[FLAGS] history|undo REPOSITORY:TAG',
  summary: 'Show what a tag pointed at, or set it back',
  examples: ['tsregistry tags history app:latest', 'tsregistry tags undo app:latest'],
  arity: { min: 2, max: 2 },
  flags: {
    ...storageFlags,
    ...immutableTagsFlag('Tags that undo leaves alone, as serve has them'),
  } as const,
  run: async ({ flags, given, args, environment, stdout }) => {
    const [action = '', name = ''] = args
    const { repository, tag } = parseAs(`"${name}"`, () => parseTagName(name))
    const isImmutable = isImmutableFrom(flags)
    await using store = await openExistingStorage(storagePlace(flags, given, environment))
    const storage = createRegistryStorage(store.objects, { isImmutable })
    if (action === 'history') {
      const changes = await listTagChanges(storage, repository, tag)
      if (changes.length === 0 && (await findTag(storage, repository, tag)) === undefined) {
        throw new OciError('not-found', `Cannot find tag "${name}", nor what it was`)
      }
      stdout.write(historyTable(changes))
    } else if (action === 'undo') {
      const { from } = await undoTag(storage, repository, { tag, by: 'tsregistry tags undo' })
      stdout.write(from === undefined ? `${name} is gone\n` : `${name} is ${from}\n`)
    } else {
      throw usageError(`Unknown action "${action}"`, 'Use history or undo')
    }
    return 0
  },
})

function parseTagName(text: string) {
  const at = text.lastIndexOf(':')
  return { repository: parseRepositoryName(text.slice(0, at)), tag: parseTag(text.slice(at + 1)) }
}

function historyTable(changes: readonly TagChange[]): string {
  const rows = changes.map(({ at, by, from, to }) => [
    new Date(at).toISOString(),
    from ?? '(created)',
    to ?? '(deleted)',
    by ?? '',
  ])
  return formatTable(['TIME', 'FROM', 'TO', 'BY'], rows)
}
