/**
 * The graph of documents and blobs under one descriptor: what an image consists of.
 *
 *   index ──► manifest ──► config
 *                     └──► layers
 */
import type { Descriptor } from '../../oci/descriptor.ts'
import type { Digest } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { type Index, type Manifest, parseManifest } from '../../oci/manifest.ts'
import { isIndex, isManifest } from '../../oci/media-type.ts'
import type { BlobReader } from '../content/content-store.ts'

export type GraphNode =
  | { readonly kind: 'index'; readonly descriptor: Descriptor; readonly value: Index }
  | { readonly kind: 'manifest'; readonly descriptor: Descriptor; readonly value: Manifest }
  /** A config or a layer; whether its blob is in the store is not checked. */
  | { readonly kind: 'blob'; readonly descriptor: Descriptor }

/** Real ones have two levels; a hostile chain of indexes ends here. */
const maxDepth = 8

/**
 * Every node once, parents first; a node's children are looked for only after it was taken. Those
 * manifests of an index that are not in the store (other platforms were not pulled) are left out.
 * Throws `not-found` when `target` itself is not there, and `invalid`.
 */
export async function* walkImage(
  target: Descriptor,
  content: Pick<BlobReader, 'find' | 'read'>,
): AsyncGenerator<GraphNode> {
  const seen = new Set<Digest>([target.digest])
  const queue = [{ descriptor: target, depth: 0 }]
  for (const { descriptor, depth } of queue) {
    if (depth > maxDepth) {
      throw new OciError('invalid', `Cannot read image ${target.digest}: indexes nested too deep`)
    }
    const isAbsent = depth > 0 && (await content.find(descriptor.digest)) === undefined
    if (isDocument(descriptor) && isAbsent) continue
    const node = await readNode(descriptor, content)
    yield node
    for (const child of childrenOf(node)) {
      if (seen.has(child.digest)) continue
      seen.add(child.digest)
      queue.push({ descriptor: child, depth: depth + 1 })
    }
  }
}

function isDocument({ mediaType }: Descriptor): boolean {
  return isIndex(mediaType) || isManifest(mediaType)
}

async function readNode(
  descriptor: Descriptor,
  content: Pick<BlobReader, 'read'>,
): Promise<GraphNode> {
  if (!isDocument(descriptor)) return { kind: 'blob', descriptor }
  const bytes = await content.read(descriptor.digest)
  const { value } = parseManifest(bytes, descriptor.mediaType)
  return value.kind === 'index'
    ? { kind: 'index', descriptor, value }
    : { kind: 'manifest', descriptor, value }
}

/** What a node points at: the manifests of an index, the config and layers of a manifest. */
export function childrenOf(node: GraphNode): readonly Descriptor[] {
  if (node.kind === 'index') return node.value.manifests
  return node.kind === 'manifest' ? [node.value.config, ...node.value.layers] : []
}
