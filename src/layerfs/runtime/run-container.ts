/**
 * A container's life: made from an unpacked image, run once, kept or removed.
 *
 *   create ──► running ──► ended ──► removed        `--rm`: removed as soon as it ends
 *
 * Its lock is held as long as it runs, by who runs it and by its monitor; a killed process leaves
 * an ended container, which the next `listContainers` removes when it was to be removed at its end.
 */
import { closeSync } from 'node:fs'
import type { RunningSandbox } from '../sandbox/monitor.ts'
import { runSandbox } from '../sandbox/run.ts'
import type { SandboxIo } from '../sandbox/sandbox-io.ts'
import type { ExitStatus } from '../sandbox/spec.ts'
import type { Store } from '../store.ts'
import { endFile, openControl, openEmpty } from './container-files.ts'
import { healthFile } from './container-health.ts'
import {
  type ContainerRequest,
  createContainer,
  discardContainer,
  prepareContainer,
  startedRecord,
} from './create-container.ts'
import { removeJoinRecord } from './join-record.ts'

export interface ContainerIo extends Pick<SandboxIo, 'stdin' | 'output' | 'signal' | 'runtime'> {
  readonly onStarted?: (handle: RunningSandbox) => void
  readonly now: () => Date
}

/**
 * Runs a new container to its end; `SandboxError` when it could not be started. Throws `conflict`
 * for a name that is taken, `invalid` and `not-found` for what the image or the options get wrong,
 * and then leaves no container.
 */
export async function runContainer(
  store: Store,
  request: ContainerRequest,
  io: ContainerIo,
): Promise<ExitStatus> {
  const now = io.now().toISOString()
  using container = await createContainer(store, request, { createdAt: now, startedAt: now })
  // Written while the container runs; the end waits for it.
  let noted: Promise<void> | undefined
  // The container holds what it needs: a prune need not wait until it ends.
  store.letGo()
  const { record } = container
  const open: number[] = []
  let isEnded = false
  try {
    const spec = await prepareContainer(store, container, request)
    if (io.runtime !== undefined) removeJoinRecord(container.path)
    const control = openControl(container.path)
    open.push(control)
    const end = openEmpty(endFile(container.path))
    open.push(end)
    const status = await runSandbox(spec, {
      id: container.id,
      stubs: store.stubs,
      healthFile: healthFile(container.path),
      volatile: record.lifetime === 'removed-at-end',
      stdin: io.stdin,
      output: io.output,
      shared: { lock: container.lockFd, control, end },
      ...(io.signal === undefined ? {} : { signal: io.signal }),
      ...(io.runtime === undefined ? {} : { runtime: io.runtime }),
      onStarted: handle => {
        noted = container.setRecord(startedRecord(record, handle))
        // Awaited below; until then nobody else hears of it.
        noted.catch(() => {})
        io.onStarted?.(handle)
      },
    })
    await noted
    isEnded = record.lifetime === 'kept'
    return status
  } finally {
    for (const fd of open) closeSync(fd)
    await noted?.catch(() => {})
    if (!isEnded) await discardContainer(store, container)
  }
}
