/** The files of finished stages, without an image around them: `type=local` and `type=tar`. */

import { join } from 'node:path'
import { makeDirectory } from '../../layerfs/content/atomic-file.ts'
import { copyTree } from '../../layerfs/layer/copy.ts'
import { diffLayer } from '../../layerfs/layer/diff.ts'
import { openRoot, type Root } from '../../layerfs/layer/rootfs.ts'
import { endOfArchive } from '../../layerfs/tar/writer.ts'
import { chainIds } from '../../oci/digest.ts'
import { formatPlatform } from '../../oci/platform.ts'
import type { BuildWorld } from '../build-request.ts'
import type { BuildResult } from '../build-result.ts'
import { emptyDirectory } from '../empty-directory.ts'
import { prefixTar } from './prefix-tar.ts'

/** `isSplit`: each platform's files are in a directory of their own, `linux_arm64`. */
export interface FilesOptions {
  readonly isSplit: boolean
}

function directoryOf({ platform }: BuildResult): string {
  return formatPlatform(platform).replaceAll('/', '_')
}

/** Seen from nothing, every file is a change. */
export async function* filesTar(
  results: readonly BuildResult[],
  { isSplit }: FilesOptions,
  world: BuildWorld,
): AsyncGenerator<Uint8Array> {
  for (const result of results) {
    if (!isSplit) yield* rootfsTar(result, world)
    else yield* prefixTar(rootfsTar(result, world), `${directoryOf(result)}/`)
  }
  if (isSplit) yield endOfArchive()
}

async function* rootfsTar(result: BuildResult, world: BuildWorld): AsyncGenerator<Uint8Array> {
  using root = await openResultRoot(result, world)
  const upper = root === undefined ? emptyDirectory(world.store) : `/proc/self/fd/${root.fd}/.`
  for (const chunk of diffLayer({ upper, lower: [], ...clampOf(result) })) {
    world.signal.throwIfAborted()
    yield chunk
  }
}

function clampOf({ latest }: BuildResult): { readonly clampTo?: number } {
  return latest === undefined ? {} : { clampTo: latest.getTime() / 1000 }
}

/** Over what is in `directory` already; owners, modes, and times as far as the epoch, are kept. */
export async function copyFiles(
  results: readonly BuildResult[],
  { directory, isSplit }: FilesOptions & { readonly directory: string },
  world: BuildWorld,
): Promise<void> {
  for (const result of results) {
    const target = isSplit ? join(directory, directoryOf(result)) : directory
    await makeDirectory(target)
    await copyRootfs(result, target, world)
  }
}

async function copyRootfs(
  result: BuildResult,
  directory: string,
  world: BuildWorld,
): Promise<void> {
  using root = await openResultRoot(result, world)
  if (root === undefined) return
  using target = openRoot({ kind: 'directory', path: directory, readOnly: false })
  copyTree({ root, path: '/' }, { root: target, path: '/' }, clampOf(result))
}

/** `undefined` for a result without layers. */
async function openResultRoot(
  { layers, filesystems }: BuildResult,
  { store, signal }: BuildWorld,
): Promise<Root | undefined> {
  const chain = chainIds(layers).at(-1)
  if (chain === undefined) return undefined
  await filesystems.materialize(chain, signal)
  return openRoot(await store.snapshots.view(chain))
}
