/**
 * What a file says, read again when it changes. A file that cannot be used any more leaves what was
 * last understood in force: an editor that saves half a file locks nobody out and lets nobody in.
 */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

export interface Watched<T> extends Disposable {
  current(): T
  /** Reads it now. Throws what `load` throws, and leaves what was there. */
  reload(): Promise<void>
}

export interface WatchOptions<T> {
  /** A file, or a folder whose files count. */
  readonly path: string
  readonly load: (path: string) => Promise<T>
  readonly onError: (error: unknown) => void
}

const everyMs = 1000

/** After which a file that changed is looked at again: who writes one mostly empties it first. */
const settleMs = 50

/** Throws what `load` throws. By asking: a folder that Kubernetes swaps under a link tells no watcher. */
export async function watch<T>({ path, load, onError }: WatchOptions<T>): Promise<Watched<T>> {
  let seen = await signatureOf(path)
  let value = await load(path)
  let isBusy = false
  const reload = async () => {
    // Before reading: a change that comes meanwhile is found the next time.
    seen = await signatureOf(path)
    value = await load(path)
  }
  const look = async () => {
    if (isBusy) return
    isBusy = true
    try {
      const changed = await signatureOf(path)
      if (changed === seen) return
      await pause(settleMs, undefined, { ref: false })
      // Else it is being written, and the next look finds it.
      if ((await signatureOf(path)) === changed) await reload()
    } catch (error) {
      onError(error)
    } finally {
      isBusy = false
    }
  }
  const timer = setInterval(() => void look(), everyMs)
  timer.unref()
  return { current: () => value, reload, [Symbol.dispose]: () => clearInterval(timer) }
}

/** Another for another content, as far as the system tells. Never throws: not to be there is a state. */
async function signatureOf(path: string): Promise<string> {
  try {
    const own = await stat(path, { bigint: true })
    const names = own.isDirectory() ? (await readdir(path)).sort() : []
    const inside = await Promise.all(names.map(name => signatureOf(join(path, name))))
    const { dev, ino, size, mtimeNs } = own
    return [dev, ino, size, mtimeNs, ...names, ...inside].join(' ')
  } catch (error) {
    return String(error)
  }
}
