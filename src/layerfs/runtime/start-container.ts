/**
 * A container that lives on: `tsrun run --detach`. There is no daemon: its monitor stays beside it,
 * holds its lock, keeps its output and its end, and removes it where it is to go at its end.
 */
import { closeSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { startSandbox } from '../sandbox/detached.ts'
import type { StartedSandbox } from '../sandbox/monitor.ts'
import type { SandboxSpec } from '../sandbox/spec.ts'
import type { Store } from '../store.ts'
import {
  endFile,
  logFile,
  openControl,
  openEmpty,
  openEndlessInput,
  openKept,
} from './container-files.ts'
import { newHealthFile } from './container-health.ts'
import type { Container } from './container-list.ts'
import {
  type ContainerRequest,
  createContainer,
  discardContainer,
  type NewContainer,
  prepareContainer,
  startedRecord,
} from './create-container.ts'
import { savedSpec } from './saved-spec.ts'

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
  const now = io.now().toISOString()
  using container = await createContainer(store, request, {
    ...{ createdAt: now, startedAt: now, detached: true },
    ...(io.logLimit === undefined ? {} : { logLimit: io.logLimit }),
    ...(io.stdin === 'open' ? { hasOpenInput: true } : {}),
  })
  store.letGo()
  try {
    await launch(store, container, {
      spec: await prepareContainer(store, container, request),
      io,
    })
    return container.id
  } catch (error) {
    await discardContainer(store, container)
    throw error
  }
}

/**
 * Starts a container that has ended, or was only created, as it was asked for, with the files that it left; what it
 * writes follows what it wrote. Nothing where it runs. Throws `unsupported` and `not-found` as
 * {@link savedSpec}, and what keeps it from starting; it is ended then, as before.
 */
export async function startAgain(
  store: Store,
  { id, isRunning, record }: Container,
  io: Pick<DetachedContainerIo, 'signal' | 'now'>,
): Promise<void> {
  if (isRunning) return
  if (record === undefined) {
    throw new OciError('conflict', `Cannot start container ${id.slice(0, 12)}: it is damaged`)
  }
  using held = await store.containers.hold(id)
  const { end: _, process: _process, ports: _ports, address: _address, ...rest } = record
  // With its end, whose file is about to be emptied: should it not start, it has ended as before.
  await held.setRecord(record)
  const fresh = { ...rest, startedAt: io.now().toISOString(), detached: true as const }
  await launch(
    store,
    { ...held, record: fresh },
    {
      spec: savedSpec(held.path, held.mount),
      io: {
        ...io,
        stdin: record.hasOpenInput === true ? 'open' : 'null',
        ...(record.logLimit === undefined ? {} : { logLimit: record.logLimit }),
      },
    },
  )
}

interface Launch {
  readonly spec: SandboxSpec
  readonly io: DetachedContainerIo
}

async function launch(store: Store, container: NewContainer, { spec, io }: Launch): Promise<void> {
  const handle = await start(store, container, { spec, io })
  await container.setRecord(startedRecord(container.record, handle))
  await handle.letGo()
}

async function start(
  store: Store,
  container: NewContainer,
  { spec, io }: Launch,
): Promise<StartedSandbox> {
  const isRemoved = container.record.lifetime === 'removed-at-end'
  const open: number[] = []
  const opened = (fd: number) => {
    open.push(fd)
    return fd
  }
  try {
    return await startSandbox(spec, {
      id: container.id,
      stubs: store.stubs,
      healthFile: newHealthFile(container.path),
      volatile: isRemoved,
      lock: container.lockFd,
      control: opened(openControl(container.path)),
      end: opened(openEmpty(endFile(container.path))),
      log: opened(openKept(logFile(container.path))),
      ...(io.logLimit === undefined ? {} : { logLimit: io.logLimit }),
      ...(io.stdin === 'null' ? {} : { stdin: opened(openEndlessInput(container.path)) }),
      ...(isRemoved ? { discard: { from: container.path, to: await store.trash.place() } } : {}),
      ...(io.signal === undefined ? {} : { signal: io.signal }),
    })
  } finally {
    for (const fd of open) closeSync(fd)
  }
}
