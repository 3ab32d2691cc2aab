/**
 * Which files a COPY or ADD names: literal paths and wildcards, resolved in a source tree.
 *
 * Reference: C03, C04, C07, C08, C09.
 */
import { OciError, printable } from '../../oci/errors.ts'
import { suggest } from '../../oci/suggest.ts'
import { hasWildcard, matchGlob } from '../dockerfile/glob.ts'
import { readListing } from './source-listing.ts'
import { isDirectory, joinPath, type Located, locate, type SourceTree } from './source-tree.ts'

export interface Selected extends Located {
  /** The last component as it was asked for: the name below a destination directory. */
  readonly name: Buffer
}

export interface Selection {
  readonly selected: readonly Selected[]
  /** The pattern had wildcards: a destination is then a directory, and nothing found is no error. */
  readonly isWildcard: boolean
}

/**
 * Resolves one source path (absolute inside the tree, cleaned). Throws `not-found` when a path
 * without wildcards leads nowhere or is excluded by .dockerignore.
 */
export function select(tree: SourceTree, path: string): Selection {
  if (hasWildcard(path)) return { selected: expand(tree, path), isWildcard: true }
  const literal = withoutEscapes(path)
  const located = locate(tree, literal)
  const name = Buffer.from(literal.slice(literal.lastIndexOf('/') + 1))
  if (located !== undefined && isKept(tree, located)) {
    return { selected: [{ ...located, name }], isWildcard: false }
  }
  throw notFound(
    path,
    located === undefined
      ? `there is no "${printable(path)}" in ${tree.name}${didYouMean(tree, literal)}`
      : `"${printable(path)}" is in ${tree.name}, but .dockerignore excludes it`,
  )
}

/** What stands beside it under nearly its name. */
function didYouMean(tree: SourceTree, path: string): string {
  const slash = path.lastIndexOf('/')
  const directory = locate(tree, path.slice(0, slash))
  const listing = directory === undefined ? undefined : readListing(tree, directory.path)
  if (listing === undefined) return ''
  const names = Array.from({ length: listing.length }, (_, index) => listing.name(index).toString())
  const meant = suggest(path.slice(slash + 1), names)
  if (meant === undefined) return ''
  return `; did you mean "${printable(path.slice(0, slash + 1) + meant)}"?`
}

/** In BuildKit's words, with a `hint` that says why. */
export function notFound(path: string, hint: string): OciError {
  const message = `failed to calculate checksum of ref: "${printable(path)}": not found`
  return new OciError('not-found', message, { hint })
}

function isKept(tree: SourceTree, { path, stat }: Located): boolean {
  return path.length === 0 || tree.ignores(path.toString(), isDirectory(stat)) !== 'drop'
}

/** A path without wildcards, as the file is called: `\[` is `[`. */
export function withoutEscapes(path: string): string {
  return path.replace(/\\(.)/gs, '$1')
}

/** Matches component by component, so that a wildcard never crosses `/`. Sorted by bytes. */
function expand(tree: SourceTree, pattern: string): Selected[] {
  let matches: Located[] = [rootOf(tree)]
  for (const component of pattern.split('/').filter(part => part !== '')) {
    matches = matches.flatMap(match => matchesBelow(tree, match, component))
  }
  return matches.filter(match => isKept(tree, match)).map(match => followed(tree, match))
}

function rootOf(tree: SourceTree): Located {
  const root = locate(tree, '')
  if (root === undefined) throw new OciError('not-found', `Cannot open ${tree.name}: it is gone`)
  return root
}

function matchesBelow(tree: SourceTree, parent: Located, component: string): Located[] {
  const directory = locate(tree, parent.path)
  if (directory === undefined || !isDirectory(directory.stat)) return []
  if (!hasWildcard(component)) {
    const path = joinPath(directory.path, Buffer.from(withoutEscapes(component)))
    const located = locate(tree, path)
    return located === undefined ? [] : [{ path, stat: located.stat }]
  }
  const listing = readListing(tree, directory.path)
  if (listing === undefined) return []
  return Array.from({ length: listing.length }, (_, index) => index)
    .filter(index => matchGlob(component, listing.name(index).toString()))
    .map(index => ({
      path: joinPath(directory.path, listing.name(index)),
      stat: listing.stat(index),
    }))
}

/** A match that is a symbolic link stands for what it leads to: throws `not-found` for nothing. */
function followed(tree: SourceTree, match: Located): Selected {
  const name = match.path.subarray(match.path.lastIndexOf('/') + 1)
  const located = locate(tree, match.path)
  if (located !== undefined) return { ...located, name: Buffer.from(name) }
  const path = printable(match.path.toString())
  throw notFound(`/${path}`, `"${path}" is a link that leads to nothing in ${tree.name}`)
}
