/** A pull or push as a vertex of the build's progress: one item per blob. */
import type { EmitBuildEvent } from '../../builder/build-event.ts'
import { transferStatus } from '../../builder/transfer-status.ts'
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
    const result = await transfer(transferStatus(id, emit))
    emit({ kind: 'done', id, how: 'worked' })
    return result
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    emit(signal?.aborted === true ? { kind: 'canceled', id } : { kind: 'failed', id, message })
    throw error
  }
}
