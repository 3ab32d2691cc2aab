/** A cache mount that begins with what an imported cache kept of it. */
import { openUnpackPool } from '../../layerfs/layer/unpack-pool.ts'
import type { Store } from '../../layerfs/store.ts'
import { OciError } from '../../oci/errors.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { DirectoryLook } from '../steps/cache-mount.ts'
import type { MountPlace } from '../steps/step-world.ts'
import { transferStatus } from '../transfer-status.ts'
import { vertex } from '../vertex.ts'
import type { ImportedCaches, ImportedMount } from './imported-cache.ts'

interface RestoreWorld {
  readonly store: Store
  readonly imports: ImportedCaches
  readonly emit: EmitBuildEvent
}

/**
 * Fills the empty directory `path`; `undefined`, leaving what it will, when no cache has the mount
 * or it cannot be had, which is a warning: a step must work without it.
 */
export async function restoreMount(
  { id, path, signal }: MountPlace,
  { store, imports, emit }: RestoreWorld,
): Promise<DirectoryLook | undefined> {
  const mount = await imports.findMount(id)
  if (mount === undefined) return undefined
  const name = `restoring cache mount ${id} from ${mount.from}`
  try {
    await vertex(name, emit, async vertexId => {
      const onEvent = transferStatus(vertexId, emit)
      await fill(path, mount, { store, onEvent, signal })
    })
    return mount
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof OciError)) throw error
    emit({ kind: 'warning', message: `cache mount ${id} begins empty: ${error.message}` })
    return undefined
  }
}

async function fill(
  target: string,
  { descriptor, diffId, source }: ImportedMount,
  {
    store,
    onEvent,
    signal,
  }: Parameters<ImportedMount['source']['fetch']>[2] & { readonly store: Store },
): Promise<void> {
  const { digest, size } = descriptor
  if ((await store.content.find(digest)) === undefined) {
    await source.fetch([descriptor], store.content, { onEvent, signal })
  }
  await using pool = openUnpackPool(1)
  const expected = { digest, size, diffId }
  await pool.applyFlat({ blob: store.content.pathOf(digest), target, expected }, signal)
}
