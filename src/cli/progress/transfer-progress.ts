/** A pull or push as a vertex of the build's progress: one item per blob. */
import type { EmitBuildEvent } from '../../builder/build-event.ts'
import { unreachable } from '../../oci/errors.ts'
import type { OnTransfer } from '../../registry/client/transfer-event.ts'

export interface TransferVertex {
  readonly id: string
  /** `pulling docker.io/library/busybox:latest`. */
  readonly name: string
  readonly signal?: AbortSignal
}

/** Runs `transfer`, telling `emit` how it goes and ends. */
export async function withTransferProgress<T>(
  emit: EmitBuildEvent,
  { id, name, signal }: TransferVertex,
  transfer: (onEvent: OnTransfer) => Promise<T>,
): Promise<T> {
  emit({ kind: 'started', id, name })
  try {
    const result = await transfer(transferEvents(emit, id))
    emit({ kind: 'done', id, how: 'worked' })
    return result
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    emit(signal?.aborted === true ? { kind: 'canceled', id } : { kind: 'failed', id, message })
    throw error
  }
}

/** Transfer events as those of the vertex `id`. */
function transferEvents(emit: EmitBuildEvent, id: string): OnTransfer {
  const status = (item: string, progress: { current: number; total?: number; isDone: boolean }) =>
    emit({ kind: 'status', id, item, ...progress })
  return event => {
    switch (event.kind) {
      case 'resolving':
        return
      case 'blob-exists':
      case 'blob-mounted': {
        const how =
          event.kind === 'blob-exists' ? '(already there)' : `(mounted from ${event.from})`
        return status(`${short(event.digest)} ${how}`, { current: 0, isDone: true })
      }
      case 'blob-progress':
        return status(short(event.digest), {
          current: event.bytes,
          total: event.total,
          isDone: false,
        })
      case 'blob-done':
        return status(short(event.digest), {
          current: event.total,
          total: event.total,
          isDone: true,
        })
      case 'manifest': {
        const name = event.tag === undefined ? short(event.digest) : `tag ${event.tag}`
        return status(`manifest ${name}`, { current: 0, isDone: true })
      }
      default:
        unreachable(event)
    }
  }
}

/** As docker shows layers: the first twelve digits. */
function short(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12)
}
