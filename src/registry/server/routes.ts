/**
 * Every endpoint: the spec's id, the method, what the client must be allowed to do, the handler.
 * A method that is not here for a path is answered 405; nothing is reachable that is not listed.
 */
import type { Action } from './access/action.ts'
import { getBase, getExtensions } from './base.ts'
import { deleteBlob, getBlob, headBlob } from './blobs.ts'
import type { Handler, RegistryRequest } from './exchange.ts'
import { getCatalog, getReferrers, getTags } from './lists.ts'
import { deleteManifest, getManifest, putManifest } from './manifests.ts'
import type { Endpoint } from './request-path.ts'
import { getTagHistory, postTagUndo } from './tag-changes.ts'
import { deleteUpload, getUpload, patchUpload, postUpload, putUpload } from './uploads.ts'

export interface Route {
  readonly id: string
  readonly method: string
  readonly kind: Endpoint['kind']
  readonly action: Action
  readonly handle: Handler<Endpoint>
}

export const routes: readonly Route[] = [
  route('end-1', 'GET base', 'none', getBase),
  route('end-1', 'HEAD base', 'none', getBase),
  route('extensions', 'GET extensions', 'none', getExtensions),
  route('extensions', 'HEAD extensions', 'none', getExtensions),
  route('catalog', 'GET catalog', 'list', getCatalog),
  route('catalog', 'HEAD catalog', 'list', getCatalog),
  route('end-2', 'GET blob', 'pull', getBlob),
  route('end-2', 'HEAD blob', 'pull', headBlob),
  route('end-10', 'DELETE blob', 'delete', deleteBlob),
  route('end-3', 'GET manifest', 'pull', getManifest),
  route('end-3', 'HEAD manifest', 'pull', getManifest),
  route('end-7a, end-7b', 'PUT manifest', 'push', putManifest),
  route('end-9', 'DELETE manifest', 'delete', deleteManifest),
  route('end-4a, end-4b, end-4c, end-11', 'POST uploads', 'push', postUpload),
  route('end-5', 'PATCH upload', 'push', patchUpload),
  route('end-6', 'PUT upload', 'push', putUpload),
  route('end-13', 'GET upload', 'push', getUpload),
  route('end-13', 'HEAD upload', 'push', getUpload),
  route('end-14', 'DELETE upload', 'push', deleteUpload),
  route('end-8a, end-8b', 'GET tags', 'pull', getTags),
  route('end-8a, end-8b', 'HEAD tags', 'pull', getTags),
  route('end-12a, end-12b', 'GET referrers', 'pull', getReferrers),
  route('end-12a, end-12b', 'HEAD referrers', 'pull', getReferrers),
  route('extension', 'GET tag-history', 'pull', getTagHistory),
  route('extension', 'HEAD tag-history', 'pull', getTagHistory),
  route('extension', 'POST tag-undo', 'undo', postTagUndo),
]

const byKind = new Map<Endpoint['kind'], Map<string, Route>>()
for (const each of routes) {
  const methods = byKind.get(each.kind) ?? new Map<string, Route>()
  byKind.set(each.kind, methods.set(each.method, each))
}

export function findRoute(method: string, kind: Endpoint['kind']): Route | undefined {
  return byKind.get(kind)?.get(method)
}

export function methodsOf(kind: Endpoint['kind']): string[] {
  return routes.flatMap(candidate => (candidate.kind === kind ? [candidate.method] : []))
}

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

function route<K extends Endpoint['kind']>(
  id: string,
  line: `${Method} ${K}`,
  ...[action, handle]: [Action, Handler<Extract<Endpoint, { kind: K }>>]
): Route {
  const [method, kind] = line.split(' ') as [Method, K]
  return {
    id,
    method,
    kind,
    action,
    handle: (request, storage) => {
      if (!isOf(request, kind)) throw new Error(`Route ${line} got a ${request.endpoint.kind}`)
      return handle(request, storage)
    },
  }
}

function isOf<K extends Endpoint['kind']>(
  request: RegistryRequest,
  kind: K,
): request is RegistryRequest<Extract<Endpoint, { kind: K }>> {
  return request.endpoint.kind === kind
}
