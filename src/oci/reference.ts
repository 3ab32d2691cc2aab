/**
 * References: `registry/repository[:tag][@digest]`, in the short forms people type.
 *
 * The first component is a registry when it has a dot, a colon, an upper-case letter, or is
 * `localhost`; otherwise the registry is docker.io, and a single name lives in `library/`.
 * Spec: distribution-spec, Pulling manifests (`<name>`, `<reference>`).
 */
import { type Digest, parseDigest } from './digest.ts'
import { OciError, printable } from './errors.ts'

declare const brand: unique symbol

/** The `<name>` of the distribution spec: lower-case path components. */
export type RepositoryName = string & { readonly [brand]: 'RepositoryName' }

export type Tag = string & { readonly [brand]: 'Tag' }

export interface Reference {
  /** `docker.io`, `localhost:5000`: as in the name, not the address that is dialled. */
  readonly registry: string
  readonly repository: RepositoryName
  readonly tag?: Tag
  readonly digest?: Digest
}

export const defaultRegistry = 'docker.io'

/** Longest `<name>` we accept, as the other clients do. */
const maxNameLength = 255

/** Throws `invalid`, quoting `text`. Without tag and digest the tag is `latest`. */
export function parseReference(text: string): Reference {
  const at = text.indexOf('@')
  const digest = at === -1 ? undefined : parseDigest(text.slice(at + 1))
  const named = at === -1 ? text : text.slice(0, at)
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  const name = colon === -1 ? named : named.slice(0, colon)
  const tag = colon === -1 ? undefined : parseTag(named.slice(colon + 1))
  const { registry, path } = splitRegistry(name)
  const repository = parseRepositoryName(path)
  if (digest !== undefined) {
    return { registry, repository, ...(tag === undefined ? {} : { tag }), digest }
  }
  return { registry, repository, tag: tag ?? ('latest' as Tag) }
}

function splitRegistry(name: string): { registry: string; path: string } {
  const slash = name.indexOf('/')
  const first = slash === -1 ? '' : name.slice(0, slash)
  if (!looksLikeRegistry(first)) {
    return { registry: defaultRegistry, path: slash === -1 ? `library/${name}` : name }
  }
  if (!/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?$/.test(first)) {
    throw new OciError(
      'invalid',
      `Cannot parse reference "${printable(name)}": "${printable(first)}" is no host[:port]`,
    )
  }
  const path = name.slice(slash + 1)
  if (first === 'docker.io' || first === 'index.docker.io') {
    return { registry: defaultRegistry, path: path.includes('/') ? path : `library/${path}` }
  }
  return { registry: first, path }
}

function looksLikeRegistry(component: string): boolean {
  return /[.:A-Z]|^localhost$/.test(component)
}

/** Throws `invalid`. Length first, then component by component, so no input is slow to refuse. */
export function parseRepositoryName(text: string): RepositoryName {
  const valid = text.length <= maxNameLength && text.split('/').every(isNameComponent)
  if (!valid) {
    throw new OciError(
      'invalid',
      `Cannot parse repository name "${printable(text)}": expected lower-case letters, digits and single separators ". _ __ -" in components joined by "/", at most ${maxNameLength} characters`,
    )
  }
  return text as RepositoryName
}

function isNameComponent(component: string): boolean {
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(component) || !/[a-z0-9]$/.test(component)) return false
  return component
    .split(/[a-z0-9]+/)
    .every(separator => separator === '' || /^(?:\.|_|__|-+)$/.test(separator))
}

/** Throws `invalid`. */
export function parseTag(text: string): Tag {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(text)) {
    throw new OciError(
      'invalid',
      `Cannot parse tag "${printable(text)}": expected up to 128 of A-Z a-z 0-9 . _ -, not starting with . or -`,
    )
  }
  return text as Tag
}

/** The full form: `docker.io/library/busybox:latest`. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${reference.registry}/${reference.repository}${tag}${digest}`
}

/** The form people type: without `docker.io/` and `library/`. */
export function familiarReference(reference: Reference): string {
  const full = formatReference(reference)
  if (reference.registry !== defaultRegistry) return full
  const short = full.slice(defaultRegistry.length + 1)
  if (short.startsWith('library/')) return short.slice('library/'.length)
  // `docker.io/a.b/c` without its registry would name one called `a.b`.
  return looksLikeRegistry(short.slice(0, short.indexOf('/'))) ? full : short
}
