/**
 * Images out of the store: as an archive for `docker load`, `podman load` and any OCI tool, or as an
 * OCI layout directory.
 *
 * The same images give the same bytes: members in order of their names, no times, no owners.
 */
import { dirname, join } from 'node:path'
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { familiarReference } from '../../oci/reference.ts'
import { makeDirectory, streamFileAtomic, writeFileAtomic } from '../content/atomic-file.ts'
import type { BlobReader } from '../content/content-store.ts'
import type { TarEntry } from '../tar/entry.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../tar/writer.ts'
import {
  blobPath,
  dockerManifestFile,
  indexDocument,
  indexFile,
  layoutDocument,
  layoutFile,
  type NamedImage,
} from './archive-layout.ts'
import { walkImage } from './image-graph.ts'

/** `oci`: a layout alone; `docker`: with the manifest.json that `docker load` needs. */
export type ArchiveFormat = 'oci' | 'docker'

export interface ExportRequest {
  readonly images: readonly NamedImage[]
  readonly content: BlobReader
  readonly format: ArchiveFormat
  /** Entries that a layout's index has besides; their blobs are there already. */
  readonly others?: readonly Descriptor[]
}

type Member =
  | { readonly path: string; readonly kind: 'directory' }
  | { readonly path: string; readonly kind: 'document'; readonly bytes: Uint8Array }
  | { readonly path: string; readonly kind: 'blob'; readonly descriptor: Descriptor }

/**
 * The archive's bytes. Throws `not-found`, before the first of them, when a blob is not in the
 * store, and for `docker` `unsupported` for an index: it can say no platform.
 */
export async function* exportArchive(request: ExportRequest): AsyncGenerator<Uint8Array> {
  for (const member of await membersOf(request)) {
    if (member.kind === 'directory') {
      yield encodeEntry(entryOf(member.path, 0))
    } else if (member.kind === 'document') {
      yield encodeEntry(entryOf(member.path, member.bytes.length))
      yield member.bytes
      yield contentPadding(member.bytes.length)
    } else {
      const { digest, size } = member.descriptor
      yield encodeEntry(entryOf(member.path, size))
      yield* request.content.open(digest)
      yield contentPadding(size)
    }
  }
  yield endOfArchive()
}

/**
 * An OCI layout in `directory`, which is made when missing; an index.json there is replaced last,
 * and each file at once, so a layout that stands there stays whole. Throws as
 * {@link exportArchive}; the files written until then stay.
 */
export async function exportLayout(directory: string, request: ExportRequest): Promise<void> {
  const members = await membersOf(request)
  const isBlob = (member: Member) => member.kind === 'blob'
  for (const member of [...members.filter(isBlob), ...members.filter(m => !isBlob(m))]) {
    const path = join(directory, member.path)
    makeDirectory(dirname(path))
    if (member.kind === 'document') await writeFileAtomic(path, member.bytes, { mode: 0o644 })
    if (member.kind === 'blob') {
      const bytes = request.content.open(member.descriptor.digest)
      await streamFileAtomic(path, bytes, { mode: 0o644 })
    }
  }
}

async function membersOf(request: ExportRequest): Promise<Member[]> {
  const members = new Map<string, Member>()
  const add = (member: Member) => members.set(member.path, member)
  const addDocument = (path: string, text: string) =>
    add({ path, kind: 'document', bytes: Buffer.from(text) })
  add({ path: 'blobs/', kind: 'directory' })
  for (const { target } of request.images) {
    for await (const { descriptor } of walkImage(target, request.content)) {
      const path = blobPath(descriptor.digest)
      await assertPresent(descriptor, target.digest, request.content)
      add({ path: path.slice(0, path.lastIndexOf('/') + 1), kind: 'directory' })
      add({ path, kind: 'blob', descriptor })
    }
  }
  addDocument(layoutFile, layoutDocument())
  addDocument(indexFile, indexDocument(request.images, request.others))
  if (request.format === 'docker') {
    addDocument(dockerManifestFile, await dockerDocument(request))
  }
  return [...members.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function assertPresent(
  { digest, size }: Descriptor,
  image: Digest,
  content: BlobReader,
): Promise<void> {
  const blob = await content.find(digest)
  if (blob?.size === size) return
  const state = blob === undefined ? 'not in the store' : `${blob.size} bytes, not ${size}`
  throw new OciError('not-found', `Cannot export image ${image}: blob ${digest} is ${state}`, {
    hint: 'pull the image with all its layers first',
  })
}

async function dockerDocument({ images, content }: ExportRequest): Promise<string> {
  const byConfig = new Map<Digest, { Config: string; RepoTags: string[]; Layers: string[] }>()
  for (const { reference, target } of images) {
    for await (const node of walkImage(target, content)) {
      if (node.kind === 'index') throw noPlatform(target.digest)
      if (node.kind !== 'manifest') continue
      const { config, layers } = node.value
      const entry = byConfig.get(config.digest) ?? {
        Config: blobPath(config.digest),
        RepoTags: [],
        Layers: layers.map(({ digest }) => blobPath(digest)),
      }
      if (reference?.tag !== undefined) entry.RepoTags.push(familiarReference(reference))
      byConfig.set(config.digest, entry)
    }
  }
  return JSON.stringify([...byConfig.values()])
}

function noPlatform(digest: Digest): OciError {
  return new OciError(
    'unsupported',
    `Cannot export index ${digest} for docker: it holds several platforms`,
    { hint: 'choose one platform, or export an OCI layout' },
  )
}

function entryOf(path: string, size: number): TarEntry {
  const isDirectory = path.endsWith('/')
  return {
    type: isDirectory ? 'directory' : 'file',
    path: Buffer.from(path),
    linkPath: Buffer.alloc(0),
    mode: isDirectory ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    size,
    mtime: { seconds: 0, nanoseconds: 0 },
    devMajor: 0,
    devMinor: 0,
    xattrs: [],
  }
}
