/** Uploads that nobody goes on with: clients rarely cancel what they give up. */
import { hasCode } from '../../oci/errors.ts'
import { uploadsPrefix } from './keys.ts'
import { listAll } from './object-store.ts'
import type { RegistryStorage } from './registry-storage.ts'
import { claimSession, endSession, readSession, type UploadSession } from './upload-session.ts'

/**
 * Ends the uploads that no request has written to for `ageMs`, with their bytes, and returns how
 * many. One that a request takes up meanwhile is left to it.
 */
export async function expireUploads(storage: RegistryStorage, ageMs: number): Promise<number> {
  let expired = 0
  for await (const session of staleUploads(storage, ageMs)) {
    if (await expire(storage, session)) expired++
  }
  return expired
}

/** Those that {@link expireUploads} would end now. */
export async function* staleUploads(
  storage: RegistryStorage,
  ageMs: number,
): AsyncGenerator<UploadSession> {
  const oldest = storage.now().getTime() - ageMs
  for await (const key of listAll(storage.objects, uploadsPrefix)) {
    const session = await readSession(storage, key.slice(uploadsPrefix.length))
    if (session === undefined || Date.parse(session.touchedAt) > oldest) continue
    if (!storage.uploads.busy.has(session.id)) yield session
  }
}

async function expire(storage: RegistryStorage, session: UploadSession): Promise<boolean> {
  using claim = await claimSession(storage, session.id)
  if (claim === undefined) return false
  try {
    await endSession(storage, session)
  } catch (error) {
    if (hasCode(error, 'conflict')) return false
    throw error
  }
  if (!session.isClosed) await storage.objects.discard(session.key, session.checkpoint)
  return true
}
