/**
 * What a COPY or ADD copies, each source brought to where it can be read: wildcards expanded, URLs
 * in the content store, repositories checked out.
 */
import type { Timestamp } from '../../layerfs/native/syscalls.ts'
import { field } from '../../oci/json.ts'
import type { GitSource } from '../plan/git-source.ts'
import type { CopyStep, InlineFile, Source } from '../plan/step.ts'
import { sourceFilter } from './copy-filter.ts'
import { type PathSource, type SelectedSource, selectSources } from './select-sources.ts'
import type { SourceTree } from './source-tree.ts'
import type { StepWorld } from './step-world.ts'

export type Item =
  /** A file or directory of `tree`. */
  | {
      readonly kind: 'selected'
      readonly tree: SourceTree
      readonly selected: SelectedSource
    }
  | { readonly kind: 'heredoc'; readonly file: InlineFile }
  /** `file`: where its bytes are on this machine. */
  | {
      readonly kind: 'download'
      readonly name: Buffer
      readonly file: string
      readonly mtime: Timestamp
    }

export interface ItemContext {
  /** What paths are in. */
  readonly tree: SourceTree
  readonly nodeId: string
  readonly world: StepWorld
  readonly signal: AbortSignal
}

/** In the order of the sources. Throws `not-found`, and what fetching throws. */
export async function itemsOf(step: CopyStep, context: ItemContext): Promise<Item[]> {
  const items: Item[] = []
  for (const source of step.sources) items.push(...(await itemsOfSource(step, source, context)))
  return items
}

async function itemsOfSource(
  step: CopyStep,
  source: Source,
  context: ItemContext,
): Promise<Item[]> {
  const { world, signal } = context
  switch (source.kind) {
    case 'heredoc':
      return [source]
    case 'path':
      return selectedItems(step, source, context)
    case 'url': {
      const { checksum } = step
      const options = checksum === undefined ? { signal } : { checksum, signal }
      const { file, modified } = await world.sources.downloadUrl(source.url, options)
      const mtime = { seconds: modified, nanoseconds: 0 }
      return [{ kind: 'download', name: Buffer.from(source.name), file, mtime }]
    }
    case 'git': {
      const tree = await world.sources.openGit(gitSourceOf(step, source), signal)
      const root = {
        path: Buffer.alloc(0),
        name: Buffer.alloc(0),
        stat: tree.root.stat('/', 'keep'),
        filter: sourceFilter(tree, Buffer.alloc(0), step.exclude),
      }
      return [{ kind: 'selected', tree, selected: root }]
    }
  }
}

/** With what the flags of ADD say beside the URL. */
export function gitSourceOf({ checksum, keepGitDir }: CopyStep, source: GitSource): GitSource {
  return { ...source, ...field('checksum', checksum), ...field('keepGitDir', keepGitDir) }
}

function selectedItems(
  step: CopyStep,
  source: PathSource,
  { tree, world, nodeId }: ItemContext,
): Item[] {
  const { selected, isWildcard } = selectSources(tree, source, step)
  if (isWildcard && selected.length === 0) {
    world.warn(nodeId, `"${source.path}" matches nothing in ${tree.name}`)
  }
  return selected.map(item => ({ kind: 'selected', tree, selected: item }))
}
