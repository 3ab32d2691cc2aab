/**
 * An image archive as it streams by: its files become blobs, its few documents are kept.
 *
 * Names are looked up, never used as paths: an archive cannot write outside the content store. What
 * it holds beyond the images stays in the store as blobs that nothing names, for a prune to find.
 */
import { posix } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import {
  type BlobInfo,
  type BlobWriter,
  type Ingest,
  maxDocumentSize,
} from '../content/content-store.ts'
import { defaultBudgets, type TarEntry } from '../tar/entry.ts'
import { TarReader } from '../tar/reader.ts'
import { digestOfPath, dockerManifestFile, indexFile, layoutFile } from './archive-layout.ts'

export interface ReadArchive {
  /** By name; documents are not among them. */
  readonly blobs: ReadonlyMap<string, BlobInfo>
  readonly documents: ReadonlyMap<string, Uint8Array>
}

const documentNames = new Set([layoutFile, indexFile, dockerManifestFile])

/**
 * An archive has a few members per layer, with short names: one with more is hostile. The names are
 * remembered, so both bounds together keep it from taking all memory.
 */
const budgets = { ...defaultBudgets, entries: 100_000, extendedHeader: 8192 }

type TarEvent =
  | { readonly kind: 'entry'; readonly entry: TarEntry }
  | { readonly kind: 'data'; readonly chunk: Buffer }
  | { readonly kind: 'end' }

/**
 * Throws `invalid` for what is no tar, `digest-mismatch` for a blob that is not what its name says,
 * and `too-large`. Blobs stored until then stay, unnamed.
 */
export async function readArchive(
  chunks: AsyncIterable<Uint8Array>,
  content: BlobWriter,
): Promise<ReadArchive> {
  const events: TarEvent[] = []
  const reader = new TarReader(
    {
      onEntry: entry => events.push({ kind: 'entry', entry }),
      onData: chunk => events.push({ kind: 'data', chunk }),
      onEnd: () => events.push({ kind: 'end' }),
    },
    budgets,
  )
  await using members = new Members(content)
  for await (const chunk of chunks) {
    reader.push(chunk)
    // All before the next chunk comes: the data are slices of this one.
    for (const event of events.splice(0)) await members.accept(event)
  }
  reader.end()
  return members.finish()
}

type Open =
  | { readonly kind: 'blob'; readonly path: string; readonly ingest: Ingest }
  | { readonly kind: 'document'; readonly path: string; readonly parts: Buffer[] }

class Members implements AsyncDisposable {
  readonly #content: BlobWriter
  readonly #blobs = new Map<string, BlobInfo>()
  readonly #documents = new Map<string, Uint8Array>()
  /** Older `docker save` writes a layer that occurs twice as a link. */
  readonly #links = new Map<string, string>()
  #open: Open | undefined

  constructor(content: BlobWriter) {
    this.#content = content
  }

  async accept(event: TarEvent): Promise<void> {
    switch (event.kind) {
      case 'entry':
        return this.#begin(event.entry)
      case 'data':
        return this.#append(event.chunk)
      default:
        return this.#end()
    }
  }

  async #begin({ type, path: name, linkPath, size }: TarEntry): Promise<void> {
    const path = cleanPath(name.toString())
    if (type === 'symlink') {
      this.#links.set(path, posix.join(posix.dirname(path), linkPath.toString()))
    } else if (type === 'hardlink') {
      this.#links.set(path, cleanPath(linkPath.toString()))
    } else if (type === 'file') {
      this.#open = await this.#openFile(path, size)
    }
  }

  async #openFile(path: string, size: number): Promise<Open> {
    if (!documentNames.has(path)) {
      const ingest = await this.#content.ingest(algorithmOfPath(path))
      return { kind: 'blob', path, ingest }
    }
    if (size > maxDocumentSize) {
      throw new OciError(
        'too-large',
        `Cannot read archive: "${path}" has ${size} bytes, more than ${maxDocumentSize}`,
      )
    }
    return { kind: 'document', path, parts: [] }
  }

  async #append(chunk: Buffer): Promise<void> {
    if (this.#open?.kind === 'blob') await this.#open.ingest.write(chunk)
    if (this.#open?.kind === 'document') this.#open.parts.push(Buffer.from(chunk))
  }

  async #end(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    if (open?.kind === 'document') this.#documents.set(open.path, Buffer.concat(open.parts))
    if (open?.kind !== 'blob') return
    const digest = digestOfPath(open.path)
    const expected = digest === undefined ? {} : { digest }
    this.#blobs.set(open.path, await open.ingest.commit(expected))
  }

  finish(): ReadArchive {
    for (const [path, target] of this.#links) {
      const blob = this.#blobs.get(target)
      if (blob !== undefined) this.#blobs.set(path, blob)
    }
    return { blobs: this.#blobs, documents: this.#documents }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#open?.kind === 'blob') await this.#open.ingest[Symbol.asyncDispose]()
  }
}

/** `./index.json` and `index.json` are one name. */
function cleanPath(path: string): string {
  return posix.normalize(path).replace(/^\/+/, '')
}

function algorithmOfPath(path: string) {
  return digestOfPath(path)?.startsWith('sha512:') === true ? 'sha512' : 'sha256'
}

/** A document's bytes. Throws `invalid` when the archive has none of that name. */
export function documentOf({ documents }: ReadArchive, name: string): Uint8Array {
  const bytes = documents.get(name)
  if (bytes !== undefined) return bytes
  throw new OciError('invalid', `Cannot read archive: it has no "${printable(name)}"`)
}
