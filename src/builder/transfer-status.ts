import type { UnpackEvent } from '../layerfs/image/unpack.ts'
import { unreachable } from '../oci/errors.ts'
import type { OnTransfer } from '../registry/client/transfer-event.ts'
import type { EmitBuildEvent } from './build-event.ts'

/** What a pull or push tells, as items of the vertex `id`: one per blob. */
export function transferStatus(id: string, emit: EmitBuildEvent): OnTransfer {
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

/** What unpacking tells, as items of the vertex `id`: one per layer. */
export function unpackStatus(id: string, emit: EmitBuildEvent): (event: UnpackEvent) => void {
  return ({ kind, layer }) => {
    const item = `unpacking ${short(layer.digest)}`
    emit({ kind: 'status', id, item, current: 0, isDone: kind === 'unpacked' })
  }
}

/** As docker shows layers: the first twelve digits. */
function short(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12)
}
