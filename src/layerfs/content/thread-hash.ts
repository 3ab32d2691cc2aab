/**
 * A hash that threads compute while JavaScript goes on: of large blobs it is a fifth of all work
 * (measured). Where this Node does not show its OpenSSL to native code there is none, and
 * `node:crypto` is as good.
 */
import { type Algorithm, createDigestHash, type DigestHash } from '../../oci/digest-hash.ts'
import { type HashHandle, syscalls } from '../native/syscalls.ts'

export class ThreadHash {
  /** For other threads that update it. */
  readonly handle: HashHandle

  constructor(handle: HashHandle) {
    this.handle = handle
  }

  /** Not while {@link updateByThread} is under way. */
  update(chunk: Uint8Array): void {
    syscalls().updateHashNow(this.handle, chunk)
  }

  /** Resolves when the chunks are in it; nobody changes them, or asks it for anything, before. */
  updateByThread(chunks: readonly Uint8Array[]): Promise<void> {
    return syscalls().updateHash(this.handle, chunks)
  }

  /** It can go on. */
  digest(_encoding: 'hex'): string {
    return syscalls().finishHash(this.handle).toString('hex')
  }

  copy(): ThreadHash {
    return new ThreadHash(syscalls().copyHash(this.handle))
  }
}

/** Of any algorithm: by threads where that can be had. */
export function openAnyHash(algorithm: Algorithm): ThreadHash | DigestHash {
  const byThreads = algorithm === 'blake3' ? undefined : openThreadHash(algorithm)
  return byThreads ?? createDigestHash(algorithm)
}

export function openThreadHash(algorithm: 'sha256' | 'sha512'): ThreadHash | undefined {
  const handle = syscalls().openHash(algorithm)
  return handle === undefined ? undefined : new ThreadHash(handle)
}
