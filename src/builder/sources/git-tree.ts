/** A checkout, or a directory of it, as COPY and ADD read it. */
import { join } from 'node:path'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { isDirectory, locate, type SourceTree } from '../steps/source-tree.ts'

/** Reads below `path`; nothing is left out. Throws `not-found`. The caller disposes. */
export function openTree(path: string, name: string): SourceTree {
  const root = openRoot({ kind: 'directory', path, readOnly: true })
  return {
    root,
    fd: root.fd,
    name,
    ignores: () => 'keep',
    ignored: [],
    [Symbol.dispose]: () => root[Symbol.dispose](),
  }
}

/**
 * Where `subdir` of a checkout is. Links are followed inside the checkout alone. Throws `not-found`
 * when it is no directory.
 */
export function directoryIn(checkout: string, subdir: string | undefined): string {
  if (subdir === undefined) return checkout
  using tree = openTree(checkout, 'the repository')
  const found = locate(tree, subdir)
  if (found === undefined || !isDirectory(found.stat)) {
    throw new OciError(
      'not-found',
      `Cannot use "${printable(subdir)}" of the repository: no such directory`,
    )
  }
  return join(checkout, found.path.toString())
}
