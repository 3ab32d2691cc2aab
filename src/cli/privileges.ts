import { OciError } from '../oci/errors.ts'

/**
 * Throws `denied` unless this process may mount filesystems and give files any owner: as root, here
 * or in a user namespace.
 */
export function assertRoot(action: string, userId: number = process.geteuid?.() ?? 0): void {
  if (userId === 0) return
  throw new OciError('denied', `Cannot ${action} as user ${userId}: it takes root`, {
    hint: 'Use sudo',
  })
}
