/**
 * A failure together with what it is about: `not-found` of a blob and of a manifest are told to
 * clients by different codes. The server's `reply.ts` has the one table from these to HTTP.
 */
import { type ErrorCode, type ErrorDetails, OciError } from '../../oci/errors.ts'

export type Resource =
  | 'blob'
  | 'client'
  | 'digest'
  | 'endpoint'
  | 'manifest'
  | 'method'
  | 'page'
  | 'parameter'
  | 'precondition'
  | 'quota'
  | 'range'
  | 'reference'
  | 'registry'
  | 'repository'
  | 'size'
  | 'tag'
  | 'upload'
  | 'upstream'
  | 'upstream-limit'

export interface ResourceDetails extends ErrorDetails {
  /** Goes to the client beside the message. */
  readonly detail?: Readonly<Record<string, unknown>>
}

export class ResourceError extends OciError {
  override readonly name = 'ResourceError'
  readonly resource: Resource
  readonly detail: Readonly<Record<string, unknown>> | undefined

  constructor(failure: `${ErrorCode} ${Resource}`, message: string, details: ResourceDetails = {}) {
    const [code, resource] = failure.split(' ') as [ErrorCode, Resource]
    super(code, message, details)
    this.resource = resource
    this.detail = details.detail
  }
}

/** Several manifests or blobs that a manifest names and the repository does not have. */
export class MissingReferencesError extends ResourceError {
  readonly missing: readonly string[]

  constructor(missing: readonly string[]) {
    super('not-found reference', `Cannot store manifest: ${missing.length} blobs are missing`)
    this.missing = missing
  }
}

/** A chunk that does not start where the upload stands. */
export class UploadRangeError extends ResourceError {
  /** Bytes received so far. */
  readonly received: number

  constructor(message: string, received: number) {
    super('conflict range', message)
    this.received = received
  }
}

/** A registry that content is pulled through from did not give it. */
export class UpstreamError extends ResourceError {
  /** How long it asked to be left alone. */
  readonly retryAfterMs: number | undefined

  constructor(
    failure: `${ErrorCode} ${'upstream' | 'upstream-limit'}`,
    message: string,
    details: ResourceDetails & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(failure, message, details)
    this.retryAfterMs = details.retryAfterMs
  }
}
