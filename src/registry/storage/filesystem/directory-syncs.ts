/**
 * fsync(2) of directories for all who wait for one: of those who ask while it runs, the next serves
 * all. So a hundred tags that are pushed at once to one repository cost a few.
 */
import { dirname } from 'node:path'
import { hasCode } from '../../../oci/errors.ts'
import { syncDirectory } from './durable-files.ts'

export class DirectorySyncs {
  /** Not begun: it will see what has been done by now. */
  readonly #waiting = new Map<string, Promise<void>>()
  readonly #running = new Map<string, Promise<void>>()

  /** Resolves when all that happened in the directory until the call is on the disk. */
  sync(directory: string): Promise<void> {
    const waiting = this.#waiting.get(directory) ?? this.#next(directory)
    this.#waiting.set(directory, waiting)
    return waiting
  }

  async #next(directory: string): Promise<void> {
    // Its failure is told to those who wait for it.
    await this.#running.get(directory)?.catch(() => {})
    const sync = syncNearest(directory)
    this.#waiting.delete(directory)
    this.#running.set(directory, sync)
    try {
      await sync
    } finally {
      if (this.#running.get(directory) === sync) this.#running.delete(directory)
    }
  }
}

/** Of a directory that was removed, with all that was in it, its parent has the news. */
async function syncNearest(directory: string): Promise<void> {
  try {
    await syncDirectory(directory)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    await syncNearest(dirname(directory))
  }
}
