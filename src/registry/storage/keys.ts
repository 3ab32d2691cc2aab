/**
 * Where everything is. One tag is one object, uploads are written once under their final key, and
 * no object lists others: lists are made by listing keys.
 *
 *   b/<alg>/<hh>/<hex>              blob record: {size, key, holder: who had it first}
 *   d/<yyyymmdd>/<uuid>             blob bytes
 *   r/<name>/_b/<digest>            the repository has the blob: {size, key}
 *   r/<name>/_m/<digest>            manifest: a line of JSON, then the exact bytes
 *   r/<name>/_t/<tag>               tag: {digest, mediaType, size, pushedAt, created: {at, by}}
 *   r/<name>/_th/<tag>/<time>-<id>  a change of the tag that was there: {at, by, from, to}
 *   r/<name>/_mt/<digest>/<tag>     the tag once pointed here: a hint, checked against `_t`
 *   r/<name>/_r/<subject>/<digest>  descriptor of a referrer
 *   x/<alg>/<hh>/<hex>/<listed>     the repository may have the blob, as others than the record's
 *                                   holder: a hint, checked against `_b`
 *   c/<listed>                      the repository is in the catalog
 *   u/<uuid>                        upload session
 *   a/robot/<name>                  a robot key: {hash, groups, createdAt, expiresAt}
 *   g/leader                        who collects garbage, until when
 *   g/writer                        in a bucket: the one process that writes (s3/single-writer.ts)
 *   q/<alg>/<hh>/<hex>/<id>         bytes that were found rotten
 *   w/<key>/<id>                    in a bucket: bytes of an unfinished object (s3/pieces.ts)
 *
 * A component of a repository's name never starts with `_`, so `_b` and the others collide with no
 * repository, and no key is the directory of another.
 */
import { algorithmOf, type Digest, hexOf } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'

export function blobRecordKey(digest: Digest): string {
  return `b/${sharded(digest)}`
}

export function dataKey(now: Date, id: string): string {
  return `d/${now.toISOString().slice(0, 10).replaceAll('-', '')}/${id}`
}

export function blobLinkKey(repository: RepositoryName, digest: Digest): string {
  return `r/${repository}/_b/${digest}`
}

export function manifestKey(repository: RepositoryName, digest: Digest): string {
  return `r/${repository}/_m/${digest}`
}

export function tagsPrefix(repository: RepositoryName): string {
  return `r/${repository}/_t/`
}

export function tagKey(repository: RepositoryName, tag: Tag): string {
  return tagsPrefix(repository) + tag
}

export function tagHistoryPrefix(repository: RepositoryName, tag: Tag): string {
  return `r/${repository}/_th/${tag}/`
}

export function repositoryPrefix(
  repository: RepositoryName,
  kind: '_b' | '_m' | '_t' | '_mt' | '_r' | '_th',
): string {
  return `r/${repository}/${kind}/`
}

/** Before all that repositories have. */
export const repositoriesPrefix = 'r/'

/** Whose the key below {@link repositoriesPrefix} is. */
export function repositoryOfKey(key: string): RepositoryName {
  const start = repositoriesPrefix.length
  return key.slice(start, key.indexOf('/_', start)) as RepositoryName
}

/** After all that it has, whose names begin with a letter, and before other repositories. */
export function afterRepository(repository: RepositoryName): string {
  return `r/${repository}/_~`
}

export function tagHintsPrefix(repository: RepositoryName, digest: Digest): string {
  return `r/${repository}/_mt/${digest}/`
}

export function tagHintKey(repository: RepositoryName, digest: Digest, tag: Tag): string {
  return tagHintsPrefix(repository, digest) + tag
}

export function referrersPrefix(repository: RepositoryName, subject: Digest): string {
  return `r/${repository}/_r/${subject}/`
}

export function referrerKey(repository: RepositoryName, subject: Digest, digest: Digest): string {
  return referrersPrefix(repository, subject) + digest
}

export function holdersPrefix(digest: Digest): string {
  return `x/${sharded(digest)}/`
}

export function holderKey(digest: Digest, repository: RepositoryName): string {
  return holdersPrefix(digest) + listedName(repository)
}

export const allHoldersPrefix = 'x/'

export const recordsPrefix = 'b/'

export const dataPrefix = 'd/'

export const leaderKey = 'g/leader'

export function quarantineKey(digest: Digest, id: string): string {
  return `q/${sharded(digest)}/${id}`
}

/** The digest of a key `b/<alg>/<hh>/<hex>` or `x/<alg>/<hh>/<hex>/…`. */
export function digestFromSharded(key: string): Digest {
  const [, algorithm, , hex] = key.split('/')
  return `${algorithm}:${hex}` as Digest
}

export const catalogPrefix = 'c/'

export function catalogKey(repository: RepositoryName): string {
  return catalogPrefix + listedName(repository)
}

export const robotsPrefix = 'a/robot/'

export function robotKey(name: string): string {
  return robotsPrefix + name
}

export const uploadsPrefix = 'u/'

export function uploadKey(id: string): string {
  return uploadsPrefix + id
}

function sharded(digest: Digest): string {
  const hex = hexOf(digest)
  return `${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}`
}

/**
 * A repository's name as one path component that sorts as the name itself: `- . /` become `+ - .`,
 * each one step down in ASCII, so `a-b`, `a.b`, `a/b`, `a0` keep their order.
 */
export function listedName(name: string): string {
  return name.replace(/[-./]/g, char => shift(char, '-./', '+-.'))
}

export function nameFromListed(listed: string): RepositoryName {
  return listed.replace(/[+.-]/g, char => shift(char, '+-.', '-./')) as RepositoryName
}

function shift(char: string, from: string, to: string): string {
  return to.charAt(from.indexOf(char))
}
