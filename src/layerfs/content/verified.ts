/** Bytes from elsewhere, checked as they stream by. */

import { algorithmOf, finishDigest } from '../../oci/digest.ts'
import { createDigestHash } from '../../oci/digest-hash.ts'
import { OciError } from '../../oci/errors.ts'
import type { BlobInfo } from './content-store.ts'

/**
 * The chunks of `blob`. Throws `digest-mismatch`, which begins with `cannot`, as soon as they are
 * too many, and after the last when they are not the digest's.
 */
export async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  { digest, size }: BlobInfo,
  cannot: string,
): AsyncGenerator<Uint8Array> {
  const algorithm = algorithmOf(digest)
  const hash = createDigestHash(algorithm)
  let left = size
  for await (const chunk of chunks) {
    left -= chunk.byteLength
    if (left < 0) {
      throw new OciError('digest-mismatch', `${cannot}: expected ${size} bytes, got more`)
    }
    hash.update(chunk)
    yield chunk
  }
  const actual = finishDigest(hash, algorithm)
  if (actual === digest) return
  throw new OciError('digest-mismatch', `${cannot}: expected ${digest}, got ${actual}`)
}
