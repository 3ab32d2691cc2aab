/** `tsregistry garbage-collect`: one run, also while a server runs on the same folder. */
import { OciError } from '../../oci/errors.ts'
import {
  collectGarbage,
  type GarbageReport,
} from '../../registry/storage/garbage/collect-garbage.ts'
import type { GarbageEvent } from '../../registry/storage/garbage/collection.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { collectFlags, collectOptions } from './collect-flags.ts'
import { immutableTagsFlag, isImmutableFrom } from './immutable-tags-flag.ts'
import { openExistingStorage, storageFlags, storagePlace } from './storage-place.ts'

export const garbageCollectCommand: Command = defineCommand({
  name: 'garbage-collect',
  usage: '[FLAGS]',
  summary: 'Remove what no manifest and no tag needs any more',
  examples: [
    'tsregistry garbage-collect --dry-run',
    'tsregistry garbage-collect --retention rules.json --root /srv/registry',
  ],
  arity: { min: 0, max: 0 },
  flags: {
    ...storageFlags,
    'dry-run': { kind: 'boolean', help: 'Say what would be done, and do nothing' },
    ...immutableTagsFlag('Tags that retention leaves alone, as serve has them'),
    'upload-expiry': {
      kind: 'duration',
      value: 'TIME',
      help: 'After which an upload that nobody goes on with is removed',
      default: 7 * 24 * 3600_000,
    },
    ...collectFlags,
  } as const,
  run: async ({ flags, given, environment, signal, stdout }) => {
    const isImmutable = isImmutableFrom(flags)
    const options = await collectOptions(flags)
    await using store = await openExistingStorage(storagePlace(flags, given, environment))
    const report = await collectGarbage(createRegistryStorage(store.objects, { isImmutable }), {
      ...options,
      uploadExpiryMs: flags['upload-expiry'],
      dryRun: flags['dry-run'],
      onEvent: event => {
        const line = lineOf(event)
        if (line !== undefined) stdout.write(`${line}\n`)
      },
      signal,
    })
    if (report === undefined) {
      throw new OciError('conflict', 'Cannot collect garbage: another process does', {
        hint: 'Try again when it is done',
      })
    }
    stdout.write(`${summaryOf(report, flags['dry-run'])}\n`)
    return report.damaged.length === 0 ? 0 : 1
  },
})

/** Hints and history are of no interest to people. */
function lineOf({ kind, action, repository, digest, tag }: GarbageEvent): string | undefined {
  if (kind === 'hint' || kind === 'history' || kind === 'bytes') return undefined
  const name = tag ?? digest ?? ''
  return [action, kind, [repository, name].filter(Boolean).join(' ')].join(' ')
}

function summaryOf({ removed, condemned, freed, damaged }: GarbageReport, isDry: boolean): string {
  const of = (count: number | undefined, noun: string) => `${count ?? 0} ${noun}`
  const parts = [
    of(removed.tag, 'tags'),
    of(removed.manifest, 'manifests'),
    of(removed.blob, 'blobs'),
    of(removed.upload, 'uploads'),
  ]
  const lines = [
    `${isDry ? 'Would remove' : 'Removed'} ${parts.join(', ')}; ${humanSize(freed)} ${isDry ? 'would be' : 'are'} free`,
    `${isDry ? 'Would condemn' : 'Condemned'} ${condemned}: they go after the time of grace`,
    ...damaged.map(name => `Left alone, because a manifest in it is damaged: ${name}`),
  ]
  return lines.join('\n')
}
