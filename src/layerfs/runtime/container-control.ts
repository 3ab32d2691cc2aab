/** Containers that run, from other processes than the one that started them. */
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { Containers } from '../snapshot/containers.ts'
import { endFile, parseEnd, sendSignal } from './container-files.ts'
import type { Container } from './container-list.ts'
import { thaw } from './container-processes.ts'

const firstPauseMs = 2
const longestPauseMs = 50

export interface WaitLimits {
  readonly signal: AbortSignal
  readonly timeoutMs?: number
}

/** Throws `conflict` when nothing of it runs that could hear the signal. */
export function signalContainer(container: Container, signal: number): void {
  if (container.isRunning && sendSignal(container.path, signal)) {
    // What is frozen would hear it only then.
    thaw(container)
    return
  }
  throw new OciError('conflict', `Container ${container.id.slice(0, 12)} is not running`)
}

/** What a shell would report for a container whose monitor could not tell. */
const killed = 137

/**
 * The exit code, once it has ended; `undefined` when that takes longer. Rejects with the signal's
 * reason. One that is removed meanwhile has ended, too.
 */
export async function waitForEnd(
  containers: Containers,
  container: Container,
  { signal, timeoutMs = Number.POSITIVE_INFINITY }: WaitLimits,
): Promise<number | undefined> {
  if (!container.isRunning) return container.record?.end?.code ?? killed
  using end = openEnd(container.path)
  const deadline = performance.now() + timeoutMs
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if (!(await isRunning(containers, container.id))) return end.code() ?? killed
    const leftMs = deadline - performance.now()
    if (leftMs <= 0) return undefined
    await pause(Math.min(pauseMs, leftMs), undefined, { signal }).catch((error: unknown) => {
      // The timer's error is not the signal's reason.
      signal.throwIfAborted()
      throw error
    })
  }
}

async function isRunning(containers: Containers, id: string): Promise<boolean> {
  try {
    return (await containers.get(id)).isRunning
  } catch (error) {
    if (hasCode(error, 'not-found')) return false
    throw error
  }
}

/** By its descriptor: the directory may be moved away when it ends. */
function openEnd(directory: string): Disposable & { code(): number | undefined } {
  try {
    const fd = openSync(endFile(directory), 'r')
    return {
      code: () => parseEnd(readFileSync(fd, 'utf8'))?.code,
      [Symbol.dispose]: () => closeSync(fd),
    }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    return { code: () => undefined, [Symbol.dispose]: () => {} }
  }
}

/**
 * Asks it to end, and ends it after `timeoutMs`. Throws `unavailable` when even that is not enough:
 * a process that waits for a device hears nothing.
 */
export async function stopContainer(
  containers: Containers,
  container: Container,
  limits: WaitLimits & { readonly stopSignal: number },
): Promise<void> {
  if (!container.isRunning) return
  sendSignal(container.path, limits.stopSignal)
  thaw(container)
  if ((await waitForEnd(containers, container, limits)) !== undefined) return
  await killContainer(containers, container, limits.signal)
}

/** SIGKILL, and its end; nothing where it has ended. */
export async function killContainer(
  containers: Containers,
  container: Container,
  signal: AbortSignal,
): Promise<void> {
  if (!container.isRunning) return
  sendSignal(container.path, sigkill)
  thaw(container)
  const code = await waitForEnd(containers, container, { signal, timeoutMs: patienceMs })
  if (code !== undefined) return
  throw new OciError(
    'unavailable',
    `Cannot stop container ${container.id.slice(0, 12)}: it was killed and does not end`,
  )
}

const sigkill = 9
const patienceMs = 10_000
