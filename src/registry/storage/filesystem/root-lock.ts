/**
 * One process per folder.
 *
 * The lock is a listening socket in the abstract namespace, named after the folder's device and
 * inode: the kernel gives it to one process, and takes it back when that process ends, however it
 * ends. No file can be left behind stale. It does not reach across network namespaces or hosts.
 */
import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { hasCode, OciError } from '../../../oci/errors.ts'

export type RootLock = AsyncDisposable

/** Throws `conflict` when another process has the folder. */
export async function lockRoot(root: string): Promise<RootLock> {
  const { dev, ino } = await stat(root)
  const server = createServer(socket => socket.destroy())
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(`\0tsregistry-${dev}-${ino}`, resolve)
    })
  } catch (cause) {
    if (!hasCode(cause, 'EADDRINUSE')) throw cause
    throw new OciError('conflict', `Cannot open storage "${root}": another process serves it`, {
      cause,
      hint: 'Stop the other tsregistry, or give this one another --root',
    })
  }
  server.unref()
  return {
    [Symbol.asyncDispose]: () => new Promise(resolve => server.close(() => resolve())),
  }
}
