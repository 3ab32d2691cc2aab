/** What of a source directory a COPY takes: .dockerignore and `--exclude` together (C18, X05). */
import type { CopyFilter } from '../../layerfs/layer/copy-options.ts'
import { ignoreMatcher } from '../dockerfile/ignore.ts'
import type { Ignored, SourceTree } from './source-tree.ts'

/** By path below the source, `/` between components. */
export type SourceFilter = (relative: string, isDirectory: boolean) => Ignored

/** Of a source that is taken whole: it need not be asked. */
export const takeAll: SourceFilter = () => 'keep'

/** For a copy; `undefined`: it need not be asked. */
export function filterOf(filter: SourceFilter): CopyFilter | undefined {
  if (filter === takeAll) return undefined
  return (relative, kind) => filter(relative, kind === 'directory')
}

/** `source`: the directory's own path in the tree. */
export function sourceFilter(
  tree: SourceTree,
  source: Buffer,
  exclude: readonly string[],
): SourceFilter {
  if (exclude.length === 0 && tree.ignored.length === 0) return takeAll
  const excluded = ignoreMatcher(exclude)
  const prefix = source.length === 0 ? '' : `${source.toString()}/`
  return (relative, isDirectory) => {
    const ignored = tree.ignores(prefix + relative, isDirectory)
    if (ignored === 'drop' || !excluded.match(relative)) return ignored
    return isDirectory && !excluded.prunes(relative) ? 'descend' : 'drop'
  }
}
