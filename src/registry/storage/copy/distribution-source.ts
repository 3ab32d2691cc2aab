/**
 * What CNCF Distribution (`registry:2`, `registry:3`) stored, in a folder or a bucket, to be copied.
 *
 *   blobs/<alg>/<hh>/<hex>/data                              bytes, of blobs and of manifests
 *   repositories/<name>/_layers/<alg>/<hex>/link             the repository has the blob
 *                      /_manifests/revisions/<alg>/<hex>/link      … the manifest
 *                      /_manifests/tags/<tag>/current/link   the tag points at the digest
 *                      /_manifests/tags/<tag>/index/<alg>/<hex>/link   it once did
 *                      /_uploads/…                           not copied
 *
 * A link's content is the digest that the bytes lie under: most often that of its own name, another
 * when one content has digests of two algorithms. Distribution writes links without syncing them, so
 * a crash of the machine leaves empty ones: those of blobs and manifests say by their name what they
 * are, those of tags are lost.
 *
 * Distribution's own collection removes bytes and leaves the links: a link without bytes is no damage
 * unless a manifest names it.
 */
import { algorithmOf, type Digest, digestOf, hexOf, parseDigest } from '../../../oci/digest.ts'
import { printable } from '../../../oci/errors.ts'
import { mediaTypes } from '../../../oci/media-type.ts'
import {
  parseRepositoryName,
  parseTag,
  type RepositoryName,
  type Tag,
} from '../../../oci/reference.ts'
import { listAll } from '../object-store.ts'
import type { CopySource, SourceFault, SourceManifest, SourceTag } from './copy-source.ts'
import type { DatedReader } from './folder-reader.ts'

export const distributionRoot = 'docker/registry/v2/'

const repositoriesPrefix = `${distributionRoot}repositories/`

/** As distribution's own limit for what it takes. */
const maxManifestSize = 4 * 1024 * 1024

type TellFault = (fault: SourceFault) => void

/** Whether there is anything of distribution's in it. */
export async function holdsDistribution(reader: DatedReader): Promise<boolean> {
  return (await reader.list(distributionRoot, { max: 1 })).length > 0
}

export function distributionSource(reader: DatedReader): CopySource {
  return {
    repositories: onFault => repositories(reader, onFault),
    blobs: repository => linked(reader, `${repositoriesPrefix}${repository}/_layers/`),
    findBlob: async (repository, digest, onFault) => {
      const link = `${repositoriesPrefix}${repository}/_layers/${pathOf(digest)}/link`
      const target = await linkTarget(reader, link)
      // Where an alias is damaged, so is what only it knew.
      const key = dataKey(target ?? digest)
      const size = await reader.size(key)
      if (size === undefined) return undefined
      if (target === undefined) onFault(emptyLink('layer', digest))
      return { size, open: () => reader.open(key) }
    },
    manifests: repository =>
      linked(reader, `${repositoriesPrefix}${repository}/_manifests/revisions/`),
    findManifest: (repository, digest) => findManifest(reader, repository, digest),
    async *history() {},
    tags: (repository, onFault) => tags(reader, repository, onFault),
  }
}

/**
 * A repository has the names below it that begin with `_`, and may have other repositories beside
 * them: one look for each finds the next.
 */
async function* repositories(
  reader: DatedReader,
  onFault: (name: string, fault: SourceFault) => void,
): AsyncGenerator<RepositoryName> {
  let startAfter = repositoriesPrefix
  for (;;) {
    const [key] = await reader.list(repositoriesPrefix, { startAfter, max: 1 })
    if (key === undefined) return
    const end = key.indexOf('/_', repositoriesPrefix.length)
    if (end === -1) {
      startAfter = key
      continue
    }
    startAfter = `${key.slice(0, end)}/_~`
    const name = key.slice(repositoriesPrefix.length, end)
    try {
      yield parseRepositoryName(name)
    } catch {
      const reason = 'its name is none that a registry takes'
      onFault(printable(name), { what: 'repository', reason, isMended: false })
    }
  }
}

/** The digests that links below `prefix` are named by; what else lies there is passed over. */
async function* linked(reader: DatedReader, prefix: string): AsyncGenerator<Digest> {
  for await (const key of listAll(reader, prefix)) {
    const [algorithm, hex, name, ...rest] = key.slice(prefix.length).split('/')
    if (name !== 'link' || rest.length > 0) continue
    const digest = digestFrom(`${algorithm}:${hex}`)
    if (digest !== undefined) yield digest
  }
}

/** `undefined` for a link that says nothing; a digest is all that one says. */
async function linkTarget(reader: DatedReader, key: string): Promise<Digest | undefined> {
  const object = await reader.get(key)
  return object === undefined ? undefined : digestFrom(textOf(object.bytes))
}

async function findManifest(
  reader: DatedReader,
  repository: RepositoryName,
  digest: Digest,
): Promise<SourceManifest | undefined> {
  const link = `${repositoriesPrefix}${repository}/_manifests/revisions/${pathOf(digest)}/link`
  const key = dataKey((await linkTarget(reader, link)) ?? digest)
  const size = await reader.size(key)
  if (size === undefined || size > maxManifestSize) return undefined
  const object = await reader.get(key)
  if (object === undefined) return undefined
  const { bytes } = object
  if (digestOf(bytes, algorithmOf(digest)) !== digest) return undefined
  return { bytes, mediaType: impliedType(bytes) }
}

/** Distribution goes by the bytes as well: what does not say its type is OCI's. */
function impliedType(bytes: Uint8Array): string {
  try {
    const document: unknown = JSON.parse(textOf(bytes))
    if (typeof document !== 'object' || document === null || 'mediaType' in document) return ''
    return 'manifests' in document ? mediaTypes.index : mediaTypes.manifest
  } catch {
    return ''
  }
}

async function* tags(
  reader: DatedReader,
  repository: RepositoryName,
  onFault: TellFault,
): AsyncGenerator<SourceTag> {
  const prefix = `${repositoriesPrefix}${repository}/_manifests/tags/`
  let startAfter = prefix
  for (;;) {
    const [key] = await reader.list(prefix, { startAfter, max: 1 })
    if (key === undefined) return
    const name = key.slice(prefix.length).split('/', 1)[0] ?? ''
    startAfter = `${prefix}${name}/~`
    const tag = tagFrom(name)
    if (tag === undefined) continue
    const current = `${prefix}${name}/current/link`
    const digest = await linkTarget(reader, current)
    if (digest === undefined) {
      onFault({ what: `tag ${tag}`, reason: await lostTag(reader, prefix + name), isMended: false })
      continue
    }
    yield { tag, digest, pushedAt: await reader.modifiedAt?.(current) }
  }
}

/** What it last pointed at is a guess, and the user's to make. */
async function lostTag(reader: DatedReader, path: string): Promise<string> {
  const index = `${path}/index/`
  let last: { readonly digest: Digest; readonly at: number } | undefined
  for await (const digest of linked(reader, index)) {
    const at = (await reader.modifiedAt?.(`${index}${pathOf(digest)}/link`)) ?? 0
    if (last === undefined || at >= last.at) last = { digest, at }
  }
  const guess = last === undefined ? '' : `; it probably pointed at ${last.digest}`
  return `its link is missing or empty${guess}`
}

function emptyLink(kind: string, digest: Digest): SourceFault {
  const reason = 'it is missing or empty, and was taken by its name'
  return { what: `${kind} link ${digest}`, reason, isMended: true }
}

function dataKey(digest: Digest): string {
  const hex = hexOf(digest)
  return `${distributionRoot}blobs/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}/data`
}

function pathOf(digest: Digest): string {
  return `${algorithmOf(digest)}/${hexOf(digest)}`
}

function digestFrom(text: string): Digest | undefined {
  try {
    return parseDigest(text)
  } catch {
    return undefined
  }
}

function tagFrom(text: string): Tag | undefined {
  try {
    return parseTag(text)
  } catch {
    return undefined
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
}
