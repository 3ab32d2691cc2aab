/** All files of a filesystem state as one tar, as `docker export` gives them. */
import { diffLayer } from '../layer/diff.ts'
import { openRoot } from '../layer/rootfs.ts'
import type { RootMount } from '../mount.ts'

/**
 * The tar's bytes, the same for the same files. Throws `conflict` when a file changes while it is
 * read, and the signal's reason.
 */
export async function* rootfsTar(
  mount: RootMount,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  using root = openRoot(mount)
  // Seen from nothing, every file is a change.
  for (const chunk of diffLayer({ upper: `/proc/self/fd/${root.fd}/.`, lower: [] })) {
    signal?.throwIfAborted()
    yield chunk
  }
}
