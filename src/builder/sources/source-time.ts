/** When what is elsewhere was made: what SOURCE_DATE_EPOCH may be taken from (A09). */
import { basename, dirname } from 'node:path'
import { newestEntry } from '../../layerfs/layer/archive-bytes.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { field } from '../../oci/json.ts'
import type { CopyStep, Source } from '../plan/step.ts'
import { gitSourceOf } from '../steps/copy-items.ts'
import { gitRepositories } from './git-repositories.ts'
import type { RemoteWorld } from './remote-sources.ts'
import { urlFetcher } from './url-fetcher.ts'

/** Seconds since 1970; `undefined` when nobody says. */
export type SourceTime = () => Promise<number | undefined>

export type TimeWorld = RemoteWorld & { readonly signal: AbortSignal }

/** What the server says, else the newest entry of an archive. Throws `invalid` for a broken one. */
export async function downloadTime(
  { file, modified }: { readonly file: string; readonly modified: number },
  signal: AbortSignal,
): Promise<number | undefined> {
  if (modified > 0) return modified
  using root = openRoot({ kind: 'directory', path: dirname(file), readOnly: true })
  return await newestEntry({ root, path: basename(file) }, signal)
}

/** Of what an ADD brings from elsewhere; throws what fetching it throws. */
export async function addedTime(
  step: CopyStep,
  source: Extract<Source, { kind: 'url' | 'git' }>,
  world: TimeWorld,
): Promise<number | undefined> {
  const { signal } = world
  if (source.kind === 'url') {
    const { content, records } = world.store
    const options = { ...field('checksum', step.checksum), signal }
    const fetched = await urlFetcher({ ...world, content, records }).fetch(source.url, options)
    return await downloadTime({ file: content.pathOf(fetched.digest), ...fetched }, signal)
  }
  await using repositories = gitRepositories({ ...world, tempDir: world.store.tempDir })
  const request = { source: gitSourceOf(step, source), namedBy: 'dockerfile', signal } as const
  return (await repositories.checkout(request)).committed
}
