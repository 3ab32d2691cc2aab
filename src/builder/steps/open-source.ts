/**
 * Opening what COPY and ADD read from.
 */

import { openRoot } from '../../layerfs/layer/rootfs.ts'
import type { RootMount } from '../../layerfs/mount.ts'
import type { IgnoreMatcher } from '../dockerfile/ignore.ts'
import type { Origin } from '../plan/step.ts'
import { chainOf, type StepResult } from '../solve/graph.ts'
import type { SourceTree } from './source-tree.ts'
import type { OpenedContext, StepWorld } from './step-world.ts'

/** A directory of the user's, without what its .dockerignore names. Throws `not-found`. */
export function openContext(path: string, ignore: IgnoreMatcher): SourceTree {
  const root = openRoot({ kind: 'directory', path, readOnly: true })
  return {
    root,
    fd: root.fd,
    name: 'the build context',
    ignores: (file, isDirectory) => {
      if (!ignore.match(file)) return 'keep'
      return isDirectory && !ignore.prunes(file) ? 'descend' : 'drop'
    },
    ignored: ignore.patterns,
    [Symbol.dispose]: () => root[Symbol.dispose](),
  }
}

/** What a COPY reads that reads no other step's result: the build context, or a named one. */
export async function openedContext(from: Origin, world: StepWorld): Promise<OpenedContext> {
  if (from.kind === 'named') return await world.namedContext(from.name)
  return { tree: world.context, cache: world.contextCache }
}

/** The filesystem of another stage or image, brought into the store if need be. */
export async function openResult(
  result: StepResult,
  world: StepWorld,
  signal: AbortSignal,
): Promise<SourceTree> {
  const root = openRoot(await viewOf(result, world, signal))
  return {
    root,
    fd: root.fd,
    name: 'the stage or image that --from names',
    ignores: () => 'keep',
    ignored: [],
    [Symbol.dispose]: () => root[Symbol.dispose](),
  }
}

/** The filesystem as the kernel can mount it, read-only. */
export async function viewOf(
  result: StepResult,
  { snapshots, filesystems, emptyDirectory }: StepWorld,
  signal: AbortSignal,
): Promise<RootMount> {
  const chain = chainOf(result)
  if (chain === undefined) return { kind: 'directory', path: emptyDirectory, readOnly: true }
  await filesystems.materialize(chain, signal)
  return snapshots.view(chain)
}
