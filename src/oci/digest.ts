/**
 * Digest, DiffId, ChainId: three names for bytes that must never be mixed up.
 *
 * Spec: image-spec descriptor.md, Digests; config.md, Layer DiffID and ChainID.
 */
import { type Hash, hash } from 'node:crypto'
import { type Algorithm, createDigestHash, hexLengths } from './digest-hash.ts'
import { OciError, printable } from './errors.ts'

declare const brand: unique symbol
type Branded<Name extends string> = `${Algorithm}:${string}` & { readonly [brand]: Name }

/** Names bytes as stored and sent: a manifest, a config, a layer as *compressed*. */
export type Digest = Branded<'Digest'>

/** Names a layer's *uncompressed* tar; an entry of the config's `rootfs.diff_ids`. */
export type DiffId = Branded<'DiffId'>

/** Names a stack of layers applied in order; the key of the snapshot that holds the result. */
export type ChainId = Branded<'ChainId'>

/**
 * A digest from outside, or `invalid`. Hex must be lower case and of the algorithm's length, so a
 * parsed digest is safe as a file name.
 */
export function parseDigest(text: string): Digest {
  assertDigest(text)
  return text as Digest
}

/** As {@link parseDigest}, for the digest of an uncompressed layer. */
export function parseDiffId(text: string): DiffId {
  assertDigest(text)
  return text as DiffId
}

/** As {@link parseDigest}, for the identity of a stack of layers. */
export function parseChainId(text: string): ChainId {
  assertDigest(text)
  return text as ChainId
}

function assertDigest(text: string): void {
  const colon = text.indexOf(':')
  const algorithm = text.slice(0, colon)
  const hex = text.slice(colon + 1)
  if (!isAlgorithm(algorithm)) {
    throw new OciError(
      'invalid',
      `Cannot parse digest "${printable(text)}": expected "sha256:" and 64 lower-case hex digits`,
    )
  }
  const length = hexLengths[algorithm]
  if (hex.length !== length || !/^[0-9a-f]+$/.test(hex)) {
    throw new OciError(
      'invalid',
      `Cannot parse digest "${printable(text)}": expected ${length} lower-case hex digits after "${algorithm}:"`,
    )
  }
}

export function isAlgorithm(text: string): text is Algorithm {
  return Object.hasOwn(hexLengths, text)
}

export function algorithmOf(digest: Digest | DiffId | ChainId): Algorithm {
  return digest.slice(0, digest.indexOf(':')) as Algorithm
}

/** The digits alone: safe as a file name. */
export function hexOf(digest: Digest | DiffId | ChainId): string {
  return digest.slice(digest.indexOf(':') + 1)
}

export function digestOf(bytes: Uint8Array | string, algorithm: Algorithm = 'sha256'): Digest {
  if (algorithm === 'sha256') return `sha256:${hash('sha256', bytes)}` as Digest
  const other = createDigestHash(algorithm)
  other.update(bytes)
  return finishDigest(other, algorithm)
}

/** The digest of everything a hash has seen. Ends the hash: it cannot be updated afterwards. */
export function finishDigest(
  hash: { digest(encoding: 'hex'): string },
  algorithm: Algorithm = 'sha256',
): Digest {
  return `${algorithm}:${hash.digest('hex')}` as Digest
}

/** As {@link finishDigest}, for a hash that saw an uncompressed layer. */
export function finishDiffId(hash: Hash): DiffId {
  return `sha256:${hash.digest('hex')}` as DiffId
}

/** The stack made by laying `layer` on `parent`. Spec: config.md, Layer ChainID. */
export function chainId(parent: ChainId | undefined, layer: DiffId): ChainId {
  if (parent === undefined) return layer as string as ChainId
  return digestOf(`${parent} ${layer}`) as string as ChainId
}

/** The chain IDs of every prefix of `layers`, lowest first. */
export function chainIds(layers: readonly DiffId[]): ChainId[] {
  const chain: ChainId[] = []
  for (const layer of layers) chain.push(chainId(chain.at(-1), layer))
  return chain
}
