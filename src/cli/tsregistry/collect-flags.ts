/** What the server and the command tell the garbage collector. */
import { readFile } from 'node:fs/promises'
import type { CollectOptions } from '../../registry/storage/garbage/collection.ts'
import { parseRetentionRules } from '../../registry/storage/garbage/retention-rules.ts'
import { parseAs } from '../flags/flag-values.ts'
import type { FlagValues } from '../flags/flags.ts'

export const collectFlags = {
  'gc-grace': {
    kind: 'duration',
    value: 'TIME',
    help: 'How long garbage is left alone, and again before it is removed',
    env: 'TSREGISTRY_GC_GRACE',
    default: 24 * 3600_000,
  },
  'delete-untagged': {
    kind: 'boolean',
    help: 'Remove manifests too that no tag, index or subject leads to',
  },
  retention: {
    kind: 'string',
    value: 'FILE',
    help: 'Rules that say which tags stay, as JSON; see docs/storage.md',
    env: 'TSREGISTRY_RETENTION',
  },
  'history-expiry': {
    kind: 'duration',
    value: 'TIME',
    help: 'For how long a tag can be set back to what it pointed at',
    default: 30 * 24 * 3600_000,
  },
} as const

/** Throws a usage error for rules that cannot be read. */
export async function collectOptions(
  flags: FlagValues<typeof collectFlags>,
): Promise<Omit<CollectOptions, 'uploadExpiryMs'>> {
  const { retention } = flags
  const bytes = retention === undefined ? undefined : await readFile(retention)
  return {
    graceMs: flags['gc-grace'],
    deleteUntagged: flags['delete-untagged'],
    historyMs: flags['history-expiry'],
    ...(bytes === undefined
      ? {}
      : { retention: parseAs('flag --retention', () => parseRetentionRules(bytes)) }),
  }
}
