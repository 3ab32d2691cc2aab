/** What handlers see of HTTP: a request value and a reply value. Sockets stay in `listen.ts`. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'
import type { ArrivingBytes } from '../storage/arriving-bytes.ts'
import type { ObjectBytes } from '../storage/object-store.ts'
import type { RegistryStorage } from '../storage/registry-storage.ts'
import { ResourceError } from '../storage/resource-error.ts'
import type { Session } from './access/session.ts'
import type { Endpoint } from './request-path.ts'

export interface RegistryRequest<E extends Endpoint = Endpoint> {
  readonly method: string
  readonly endpoint: E
  readonly query: URLSearchParams
  /** A header's value by its lower-case name; several of one name joined as HTTP joins them. */
  readonly header: (name: string) => string | undefined
  /** Read at most once. Fails when the client goes away. */
  readonly body: ArrivingBytes
  /** Who asks, and what they may do in repositories that the path does not name: a mount's source. */
  readonly session: Session
  /** Whether this client fetches blobs from the storage itself, where that has addresses. */
  readonly isRedirected: boolean
  /**
   * To be held while a body of more than a few KiB is in memory, and besides while it is `parsed` and
   * stored, which takes several times as much: so that there are never many. Throws `unavailable`.
   */
  readonly reserveMemory: (until: 'received' | 'parsed') => Promise<Disposable>
  /** To be asked before bytes that are not in the body become the repository's. Throws `denied`. */
  readonly mustFit?: ((bytes: number) => Promise<void>) | undefined
}

/** What a request did or saw, for those who are told of it (`registry/notifications`). */
export interface Happening {
  readonly action: 'push' | 'pull' | 'mount' | 'delete'
  readonly kind: 'manifest' | 'blob'
  readonly repository: RepositoryName
  /** Absent when only a tag was removed. */
  readonly digest?: Digest | undefined
  readonly mediaType?: string
  /** Absent of what is gone. */
  readonly size?: number
  readonly tag?: Tag | undefined
  /** Of a mount. */
  readonly fromRepository?: RepositoryName
  /** The bytes, for who asks what a manifest refers to. */
  readonly manifest?: Uint8Array
}

export type ReplyBody = string | Uint8Array | ObjectBytes

export interface Reply {
  readonly status: number
  /** Names as they are sent. Values hold no control characters. */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: ReplyBody
  readonly happened?: readonly Happening[]
}

export type Handler<E extends Endpoint> = (
  request: RegistryRequest<E>,
  storage: RegistryStorage,
) => Promise<Reply>

export function jsonReply(status: number, value: unknown, headers: Reply['headers'] = {}): Reply {
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(value),
  }
}

/** A query parameter that may be given once. Throws `invalid` of the parameter. */
export function single(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name)
  if (values.length <= 1) return values[0]
  throw new ResourceError('invalid parameter', `Cannot use query parameter "${name}": given twice`)
}

/** For the history of tags. */
export function author({ name }: Session): { readonly by?: string } {
  return name === undefined ? {} : { by: name }
}

/** Whether `If-None-Match` or the like lists the digest; the marks around it do not matter here. */
export function listsDigest(header: string | undefined, digest: string): boolean {
  if (header === undefined) return false
  return header.trim() === '*' || entityTags(header).includes(digest)
}

/** The entity tags of a list, without quotes and weakness. */
export function entityTags(header: string): string[] {
  return header.split(',').map(tag => tag.trim().replace(/^(?:W\/)?"(.*)"$/, '$1'))
}
