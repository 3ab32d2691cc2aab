/** What a COPY takes of a tree, source by source: with and without --parents (C08, C18, C19). */
import { OciError, printable } from '../../oci/errors.ts'
import { compileDeepGlob, couldMatchBelow, globMatches, hasWildcard } from '../dockerfile/glob.ts'
import { ignoreMatcher } from '../dockerfile/ignore.ts'
import type { CopyStep, Source } from '../plan/step.ts'
import { type SourceFilter, sourceFilter } from './copy-filter.ts'
import { notFound, type Selected, type Selection, select, withoutEscapes } from './select.ts'
import { type Ignored, isDirectory, type Located, locate, type SourceTree } from './source-tree.ts'

export type PathSource = Extract<Source, { kind: 'path' }>

export interface SelectedSource extends Selected {
  /** What of a directory is taken. */
  readonly filter: SourceFilter
}

export interface SelectedSources extends Pick<Selection, 'isWildcard'> {
  readonly selected: readonly SelectedSource[]
}

/** Throws `not-found` when a path without wildcards leads nowhere or is excluded. */
export function selectSources(
  tree: SourceTree,
  source: PathSource,
  { parents, exclude }: Pick<CopyStep, 'parents' | 'exclude'>,
): SelectedSources {
  if (parents) return selectBelowPivot(tree, source, exclude)
  const { selected, isWildcard } = select(tree, source.path)
  return {
    isWildcard,
    selected: selected.map(item => ({ ...item, filter: sourceFilter(tree, item.path, exclude) })),
  }
}

/** The pivot's directories, of which only what the path names is taken, with the directories above. */
function selectBelowPivot(
  tree: SourceTree,
  { path, pivot }: PathSource,
  exclude: readonly string[],
): SelectedSources {
  const isWildcard = hasWildcard(path)
  const below = pivot === '/' ? path : path.slice(pivot.length)
  if (!isWildcard) mustBeTaken(select(tree, path), { path, below, exclude })
  const named = namedFilter(below)
  const selected = pivotsOf(tree, pivot).map(located => {
    const kept = sourceFilter(tree, located.path, exclude)
    const filter: SourceFilter = (relative, isDir) =>
      stricter(kept(relative, isDir), named(relative, isDir))
    return { ...located, name: Buffer.from('.'), filter }
  })
  return { isWildcard, selected }
}

/** Without --parents, patterns are of what is below a source, and leave itself alone; here, of it too. */
function mustBeTaken(
  { selected: [found] }: Selection,
  { path, below, exclude }: { path: string; below: string; exclude: readonly string[] },
): void {
  const relative = withoutEscapes(below).replace(/^\//, '')
  if (found === undefined || relative === '' || exclude.length === 0) return
  const excluded = ignoreMatcher(exclude)
  if (!(isDirectory(found.stat) ? excluded.prunes(relative) : excluded.match(relative))) return
  throw notFound(path, `"${printable(path)}" is what --exclude leaves out`)
}

/** Wildcards in the pivot find any number of directories, one component at a time. */
function pivotsOf(tree: SourceTree, pivot: string): Located[] {
  if (hasWildcard(pivot)) {
    return select(tree, pivot).selected.filter(({ stat }) => isDirectory(stat))
  }
  const located = locate(tree, withoutEscapes(pivot))
  if (located !== undefined) return [located]
  throw new OciError('not-found', `Cannot copy from "${printable(pivot)}": not found`)
}

/** Keeps what `path` (absolute, `**` is any number of directories) names, and all below it. */
function namedFilter(path: string): SourceFilter {
  const glob = compileDeepGlob(path.replace(/^\//, ''))
  const names = (relative: string): boolean => {
    if (path === '/' || globMatches(glob, relative)) return true
    const slash = relative.lastIndexOf('/')
    return slash !== -1 && names(relative.slice(0, slash))
  }
  return (relative, isDirectory) => {
    if (names(relative)) return 'keep'
    return isDirectory && couldMatchBelow(glob, relative) ? 'descend' : 'drop'
  }
}

function stricter(a: Ignored, b: Ignored): Ignored {
  if (a === 'drop' || b === 'drop') return 'drop'
  return a === 'keep' ? b : a
}
