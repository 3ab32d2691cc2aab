/**
 * The one reading of a request's target. Access control and storage both work on its result, so
 * they cannot disagree about which repository a path means.
 *
 * It works on the raw target and from the right, because a repository's name may have components
 * like `blobs` or `manifests`: `/v2/a/blobs/b/manifests/c` is tag `c` of `a/blobs/b`. Only the last
 * segment is percent-decoded, once (some clients write a digest's colon as `%3A`); a name with `%`
 * is refused, so there is no second spelling of a repository.
 * Spec: distribution-spec, Endpoints.
 */
import { LRUCache } from 'lru-cache'
import { type Digest, parseDigest } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import {
  parseRepositoryName,
  parseTag,
  type RepositoryName,
  type Tag,
} from '../../oci/reference.ts'
import type { ManifestReference } from '../storage/manifests.ts'
import { type Resource, ResourceError } from '../storage/resource-error.ts'

export type Endpoint =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'extensions' }
  | { readonly kind: 'blob'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: RepositoryName }
  | { readonly kind: 'upload'; readonly repository: RepositoryName; readonly id: string }
  | {
      readonly kind: 'manifest'
      readonly repository: RepositoryName
      readonly reference: ManifestReference
    }
  | { readonly kind: 'tags'; readonly repository: RepositoryName }
  | { readonly kind: 'referrers'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'tag-history'; readonly repository: RepositoryName; readonly tag: Tag }
  | { readonly kind: 'tag-undo'; readonly repository: RepositoryName; readonly tag: Tag }

export interface RequestTarget {
  readonly path: string
  readonly query: URLSearchParams
}

/** Splits path and query; drops the scheme and host of an absolute-form target. */
export function splitTarget(target: string): RequestTarget {
  const absolute = /^https?:\/\/[^/?#]*/i.exec(target)?.[0] ?? ''
  const local = target.slice(absolute.length)
  const mark = local.indexOf('?')
  return {
    path: mark === -1 ? local : local.slice(0, mark),
    query: new URLSearchParams(mark === -1 ? '' : local.slice(mark + 1)),
  }
}

export interface ParsedTarget {
  readonly endpoint: Endpoint
  readonly query: URLSearchParams
}

const longestKept = 512

/** Clients ask for the same few things again and again. */
const kept = new LRUCache<string, ParsedTarget>({ max: 2000 })

/** Path and query together. Throws as {@link parseRequestPath}. Nobody changes the query. */
export function parseTarget(target: string): ParsedTarget {
  const known = kept.get(target)
  if (known !== undefined) return known
  const { path, query } = splitTarget(target)
  const parsed = { endpoint: parseRequestPath(path), query }
  if (target.length <= longestKept) kept.set(target, parsed)
  return parsed
}

/** Throws `not-found` of the endpoint, or `invalid` of the name, digest, tag or upload. */
export function parseRequestPath(path: string): Endpoint {
  if (path === '/v2/' || path === '/v2') return { kind: 'base' }
  if (!path.startsWith('/v2/')) throw unknownEndpoint(path)
  if (path === '/v2/_catalog') return { kind: 'catalog' }
  if (path === '/v2/_oci/ext/discover') return { kind: 'extensions' }
  const segments = path.slice('/v2/'.length).split('/')
  return (
    uploadEndpoint(segments) ??
    extensionEndpoint(segments) ??
    namedEndpoint(segments) ??
    unknown(path)
  )
}

function unknown(path: string): never {
  throw unknownEndpoint(path)
}

/** `<name>/blobs/uploads/` and `<name>/blobs/uploads/<id>`. */
function uploadEndpoint(segments: readonly string[]): Endpoint | undefined {
  const [third, second, last = ''] = segments.slice(-3)
  if (second === 'blobs' && last === 'uploads') {
    return { kind: 'uploads', repository: nameFrom(segments.slice(0, -2)) }
  }
  if (third !== 'blobs' || second !== 'uploads') return undefined
  const repository = nameFrom(segments.slice(0, -3))
  return last === ''
    ? { kind: 'uploads', repository }
    : { kind: 'upload', repository, id: id(last) }
}

/** `<name>/_tsregistry/tags/<tag>/history` and `…/undo`: no component of a name starts with `_`. */
function extensionEndpoint(segments: readonly string[]): Endpoint | undefined {
  const [extension, component, tag = '', module] = segments.slice(-4)
  if (extension !== '_tsregistry' || component !== 'tags') return undefined
  const kind = module === 'history' ? 'tag-history' : module === 'undo' ? 'tag-undo' : undefined
  if (kind === undefined) return undefined
  return { kind, repository: nameFrom(segments.slice(0, -4)), tag: tagFrom(decoded(tag)) }
}

function namedEndpoint(segments: readonly string[]): Endpoint | undefined {
  const [kind, last = ''] = segments.slice(-2)
  const repository = () => nameFrom(segments.slice(0, -2))
  switch (kind) {
    case 'blobs':
      return { kind: 'blob', repository: repository(), digest: digestFrom(decoded(last)) }
    case 'manifests':
      return { kind: 'manifest', repository: repository(), reference: referenceFrom(decoded(last)) }
    case 'referrers':
      return { kind: 'referrers', repository: repository(), digest: digestFrom(decoded(last)) }
    case 'tags':
      return last === 'list' ? { kind: 'tags', repository: repository() } : undefined
    default:
      return undefined
  }
}

function nameFrom(segments: readonly string[]): RepositoryName {
  return refuse('repository', () => parseRepositoryName(segments.join('/')))
}

/** Throws `invalid` of the digest. */
export function digestFrom(text: string): Digest {
  return refuse('digest', () => parseDigest(text))
}

/** A tag never has a colon and a digest always has one: a wrong digest is not taken for a tag. */
function referenceFrom(text: string): ManifestReference {
  if (text.includes(':')) return { kind: 'digest', digest: digestFrom(text) }
  return { kind: 'tag', tag: tagFrom(text) }
}

function tagFrom(text: string): Tag {
  return refuse('tag', () => parseTag(text))
}

function id(text: string): string {
  if (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return text
  throw new ResourceError('not-found upload', `Cannot find upload "${printable(text)}"`)
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** Runs a parser of the vocabulary; its `invalid` becomes one of `resource`. */
export function refuse<T>(resource: Resource, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw new ResourceError(`invalid ${resource}`, error.message, { cause: error })
  }
}

function unknownEndpoint(path: string): ResourceError {
  return new ResourceError('not-found endpoint', `Cannot find "${printable(path)}"`)
}
