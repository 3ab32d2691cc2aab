/**
 * What cache mounts hold, as layers of an exported cache: `--cache-to …,cache-mounts=all`.
 *
 * A directory that this machine does not have is handed on from the cache that has it, so that a
 * build whose steps were all found loses nothing.
 */
import { stat } from 'node:fs/promises'
import { ignoreMissing } from '../../layerfs/content/atomic-file.ts'
import { withLock } from '../../layerfs/content/file-lock.ts'
import { diffLayer } from '../../layerfs/layer/diff.ts'
import type { BuildWorld } from '../build-request.ts'
import type { ImageOptions } from '../export/image-options.ts'
import { layerTypes, packLayer } from '../export/pack-layer.ts'
import type { Filesystems } from '../filesystems.ts'
import { cacheMountsOf, sharedCache } from '../steps/cache-mount.ts'
import type { ImportedCaches } from './imported-cache.ts'
import type { SavedMount } from './saved-mount.ts'

/** `ids`: those of the build that were asked for. */
export async function saveMounts(
  ids: readonly string[],
  making: MountMaking,
): Promise<SavedMount[]> {
  const saved: SavedMount[] = []
  for (const id of ids) {
    const mount = (await saveOwn(id, making)) ?? (await handOn(id, making))
    if (mount !== undefined) saved.push(mount)
  }
  return saved
}

export interface MountMaking {
  readonly options: ImageOptions
  readonly imports: ImportedCaches
  readonly filesystems: Filesystems
  readonly world: BuildWorld
}

/** `undefined` without a directory. While it is read no step uses it. */
async function saveOwn(
  id: string,
  { options, world: { store, signal } }: MountMaking,
): Promise<SavedMount | undefined> {
  const { path, lock } = sharedCache(cacheMountsOf(store), id)
  if ((await stat(path).catch(ignoreMissing)) === undefined) return undefined
  return withLock(lock, { mode: 'exclusive', signal }, async () => {
    const { mode, uid, gid } = await stat(path)
    const { bytes, described } = packLayer(diffLayer({ upper: path, lower: [] }), options)
    await using ingest = await store.content.ingest()
    for await (const chunk of bytes) {
      signal.throwIfAborted()
      await ingest.write(chunk)
    }
    const { digest, size } = await ingest.commit()
    const descriptor = { mediaType: layerTypes[options.compression], digest, size }
    return { id, mode: mode & 0o7777, uid, gid, diffId: described().diffId, descriptor }
  })
}

async function handOn(
  id: string,
  { imports, filesystems, world: { signal } }: MountMaking,
): Promise<SavedMount | undefined> {
  const mount = await imports.findMount(id)
  if (mount === undefined || !(await mount.source.has(mount.descriptor, signal))) return undefined
  const { source, from, ...saved } = mount
  filesystems.addStack({
    title: work => `${work} from cache ${from}`,
    origin: 'cache',
    layers: [saved],
    source,
  })
  return saved
}
