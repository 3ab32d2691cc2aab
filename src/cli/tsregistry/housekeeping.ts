/** What the server does by itself: at the start, and every hour until disposed. */
import type { Logger } from 'pino'
import type { RegistryStorage } from '../../registry/storage/registry-storage.ts'
import { expireUploads } from '../../registry/storage/upload-expiry.ts'

const everyMs = 3600_000

/** Failures are logged; the next hour tries again. */
export function startHousekeeping(
  storage: RegistryStorage,
  options: { readonly uploadExpiryMs: number; readonly log: Logger },
): Disposable {
  const { uploadExpiryMs, log } = options
  const tidy = async () => {
    try {
      const uploads = await expireUploads(storage, uploadExpiryMs)
      if (uploads > 0) log.info({ uploads }, 'removed abandoned uploads')
    } catch (error) {
      log.error({ err: error }, 'removing abandoned uploads failed')
    }
  }
  void tidy()
  const timer = setInterval(() => void tidy(), everyMs)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
