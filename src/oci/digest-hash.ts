/**
 * What computes digests, by algorithm. Spec: image-spec descriptor.md, Registered algorithms.
 *
 * BLAKE3 is not in `node:crypto`; the library's is a fiftieth as fast as Node's SHA-256 (40 MB a second,
 * measured), so who hashes much of it hashes a little at a time.
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

/** Hex digits of each registered algorithm we compute. */
export const hexLengths = { sha256: 64, sha512: 128, blake3: 64 } as const

export type Algorithm = keyof typeof hexLengths

/** As Node's `Hash`. */
export interface DigestHash {
  update(chunk: Uint8Array | string): unknown
  /** Once. */
  digest(encoding: 'hex'): string
  /** Goes on from here by itself. */
  copy(): DigestHash
}

export function createDigestHash(algorithm: Algorithm): DigestHash {
  return algorithm === 'blake3' ? new Blake3(blake3().create()) : createHash(algorithm)
}

/** Loaded when it is first asked for: hardly any program ever does. */
function blake3(): typeof import('@noble/hashes/blake3.js').blake3 {
  return createRequire(import.meta.url)('@noble/hashes/blake3.js').blake3
}

type Engine = ReturnType<ReturnType<typeof blake3>['create']>

class Blake3 implements DigestHash {
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  update(chunk: Uint8Array | string): void {
    this.#engine.update(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  }

  digest(_encoding: 'hex'): string {
    return Buffer.from(this.#engine.digest()).toString('hex')
  }

  copy(): Blake3 {
    return new Blake3(this.#engine.clone())
  }
}
