/**
 * A container that lives on: `tsrun run --detach`. There is no daemon: its monitor stays beside it,
 * holds its lock, keeps its output and its end, and removes it where it is to go at its end.
 */
import { closeSync } from 'node:fs'
import { startSandbox } from '../sandbox/detached.ts'
import type { StartedSandbox } from '../sandbox/monitor.ts'
import type { Store } from '../store.ts'
import { endFile, logFile, openControl, openEmpty, openEndlessInput } from './container-files.ts'
import {
  type ContainerRequest,
  createContainer,
  type NewContainer,
  prepareContainer,
  startedRecord,
} from './create-container.ts'

export interface DetachedContainerIo {
  /** `open`: the program waits for input that never comes, instead of finding none. */
  readonly stdin: 'null' | 'open'
  /** How many bytes of its output are kept; absent: all. */
  readonly logLimit?: number
  readonly signal?: AbortSignal
  readonly now: () => Date
}

/**
 * Starts a new container and resolves with its id once it runs and all is written down: until then
 * it ends with us. Throws as {@link runContainer} does, and then leaves no container.
 */
export async function startContainer(
  store: Store,
  request: ContainerRequest,
  io: DetachedContainerIo,
): Promise<string> {
  using container = await createContainer(store, request, {
    createdAt: io.now().toISOString(),
    detached: true,
  })
  store.letGo()
  try {
    const handle = await start(store, container, { request, io })
    await container.setRecord(startedRecord(container.record, handle))
    await handle.letGo()
    return container.id
  } catch (error) {
    await store.trash.discard(container.path)
    throw error
  }
}

interface Wishes {
  readonly request: ContainerRequest
  readonly io: DetachedContainerIo
}

async function start(
  store: Store,
  container: NewContainer,
  { request, io }: Wishes,
): Promise<StartedSandbox> {
  const spec = prepareContainer(container, request)
  const isRemoved = request.lifetime === 'removed-at-end'
  const open: number[] = []
  const opened = (fd: number) => {
    open.push(fd)
    return fd
  }
  try {
    return await startSandbox(spec, {
      id: container.id,
      stubs: store.stubs,
      volatile: isRemoved,
      lock: container.lockFd,
      control: opened(openControl(container.path)),
      end: opened(openEmpty(endFile(container.path))),
      log: opened(openEmpty(logFile(container.path))),
      ...(io.logLimit === undefined ? {} : { logLimit: io.logLimit }),
      ...(io.stdin === 'null' ? {} : { stdin: opened(openEndlessInput(container.path)) }),
      ...(isRemoved ? { discard: { from: container.path, to: await store.trash.place() } } : {}),
      ...(io.signal === undefined ? {} : { signal: io.signal }),
    })
  } finally {
    for (const fd of open) closeSync(fd)
  }
}
