/** The files of a finished stage, without an image around them: `type=local` and `type=tar`. */
import { copyTree } from '../../layerfs/layer/copy.ts'
import { diffLayer } from '../../layerfs/layer/diff.ts'
import { openRoot, type Root } from '../../layerfs/layer/rootfs.ts'
import { chainIds } from '../../oci/digest.ts'
import type { BuildResult } from '../build.ts'
import type { BuildWorld } from '../build-request.ts'
import { emptyDirectory } from '../empty-directory.ts'

/** One flat tar: seen from nothing, every file is a change. */
export async function* rootfsTar(
  result: BuildResult,
  world: BuildWorld,
): AsyncGenerator<Uint8Array> {
  using root = await openResultRoot(result, world)
  if (root === undefined) {
    yield* diffLayer({ upper: await emptyDirectory(world.store), lower: [] })
    return
  }
  for (const chunk of diffLayer({ upper: `/proc/self/fd/${root.fd}/.`, lower: [] })) {
    world.signal.throwIfAborted()
    yield chunk
  }
}

/** Over what is in `directory` already; owners and modes are kept. */
export async function copyRootfs(
  result: BuildResult,
  directory: string,
  world: BuildWorld,
): Promise<void> {
  using root = await openResultRoot(result, world)
  if (root === undefined) return
  using target = openRoot({ kind: 'directory', path: directory, readOnly: false })
  copyTree({ root, path: '/' }, { root: target, path: '/' })
}

/** `undefined` for a result without layers. */
async function openResultRoot(
  { layers, bases }: BuildResult,
  { store, signal }: BuildWorld,
): Promise<Root | undefined> {
  const chain = chainIds(layers).at(-1)
  if (chain === undefined) return undefined
  await bases.materialize(chain, signal)
  return openRoot(await store.snapshots.view(chain))
}
