import { hexOf } from '../oci/digest.ts'
import type { OnTransfer, TransferEvent } from '../registry/client/transfer-event.ts'
import type { EmitBuildEvent } from './build-event.ts'

/** What a pull or push tells, as lines of the vertex `id`: one per blob. */
export function transferStatus(id: string, emit: EmitBuildEvent): OnTransfer {
  return event => {
    const status = statusOf(event)
    if (status !== undefined) emit({ kind: 'status', id, ...status })
  }
}

function statusOf(event: TransferEvent) {
  switch (event.kind) {
    case 'blob-progress': {
      const { bytes, total } = event
      return { item: shortDigest(event), current: bytes, total, isDone: false }
    }
    case 'blob-done':
    case 'blob-exists':
    case 'blob-mounted':
      return { item: shortDigest(event), current: event.total, total: event.total, isDone: true }
    case 'resolving':
    case 'manifest':
      return undefined
  }
}

function shortDigest({ digest }: Extract<TransferEvent, { digest: unknown }>): string {
  return `sha256:${hexOf(digest).slice(0, 12)}`
}
