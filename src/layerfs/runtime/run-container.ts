/**
 * A container's life: made from an unpacked image, run once, kept or removed.
 *
 *   create ──► running ──► ended ──► removed        `--rm`: removed as soon as it ends
 *
 * Whoever runs it holds its lock; a killed process leaves an ended container, which the next
 * `listContainers` removes when it was to be removed at its end.
 */
import { join } from 'node:path'
import type { ChainId } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { RunConfig } from '../../oci/image-config.ts'
import { withLock } from '../content/file-lock.ts'
import { openRoot } from '../layer/rootfs.ts'
import { type RunningSandbox, runSandbox, type SandboxIo } from '../sandbox/run.ts'
import type { ExitStatus, SandboxSpec } from '../sandbox/spec.ts'
import type { HeldContainer } from '../snapshot/containers.ts'
import type { Store } from '../store.ts'
import { listContainers } from './container-list.ts'
import type { ContainerRecord } from './container-record.ts'
import {
  type ContainerOptions,
  containerCommand,
  containerSpec,
  workingDirectory,
} from './container-spec.ts'
import { userInRoot } from './user-in-root.ts'

export interface ContainerRequest {
  readonly image: {
    /** As the user named it. */
    readonly name: string
    readonly id: string
    /** Of its unpacked layers; `undefined` when it has none. */
    readonly chain: ChainId | undefined
    readonly config: RunConfig
  }
  readonly name?: string
  /** `user[:group]` instead of the image's. */
  readonly user?: string
  /** Of the user, beyond those of the image. */
  readonly groups?: readonly string[]
  readonly lifetime: ContainerRecord['lifetime']
  readonly options: ContainerOptions
}

export interface ContainerIo extends Pick<SandboxIo, 'stdin' | 'output' | 'signal'> {
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
  using container = await createContainer(store, request, io.now())
  let { record } = container
  // Written while the container runs; the end waits for it.
  let noted: Promise<void> | undefined
  // The container holds what it needs: a prune need not wait until it ends.
  store.stopWriting()
  let isEnded = false
  try {
    const spec = prepareContainer(container, request)
    const status = await runSandbox(spec, {
      id: container.id,
      stubs: store.stubs,
      volatile: record.lifetime === 'removed-at-end',
      stdin: io.stdin,
      output: io.output,
      ...(io.signal === undefined ? {} : { signal: io.signal }),
      onStarted: handle => {
        if (handle.ports.length > 0) {
          record = withPorts(record, handle)
          noted = container.setRecord(record)
          // Awaited below; until then nobody else hears of it.
          noted.catch(() => {})
        }
        io.onStarted?.(handle)
      },
    })
    await noted
    isEnded = record.lifetime === 'kept'
    if (isEnded)
      await container.setRecord({ ...record, end: { ...status, at: io.now().toISOString() } })
    return status
  } finally {
    await noted?.catch(() => {})
    if (!isEnded) await store.trash.discard(container.path)
  }
}

function withPorts(
  record: ContainerRecord,
  { ports, address }: Pick<RunningSandbox, 'ports' | 'address'>,
): ContainerRecord {
  return { ...record, ports, ...(address === undefined ? {} : { address }) }
}

type NewContainer = HeldContainer & { readonly record: ContainerRecord }

async function createContainer(
  store: Store,
  request: ContainerRequest,
  now: Date,
): Promise<NewContainer> {
  const { image, name, options, lifetime } = request
  const record: ContainerRecord = {
    ...(name === undefined ? {} : { name: checkName(name) }),
    image: image.name,
    imageId: image.id,
    argv: containerCommand(image.config, options),
    createdAt: now.toISOString(),
    startedAt: now.toISOString(),
    lifetime,
  }
  const create = async () => ({ ...(await store.containers.create(image.chain, record)), record })
  if (name === undefined) return create()
  return withLock(join(store.locks, 'container-names'), 'exclusive', async () => {
    await assertNameIsFree(store, name)
    return create()
  })
}

function checkName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(name)) return name
  throw new OciError(
    'invalid',
    `Cannot use container name "${printable(name)}": expected up to 128 of A-Z a-z 0-9 _ . -`,
  )
}

async function assertNameIsFree(store: Store, name: string): Promise<void> {
  const holder = (await listContainers(store.containers)).find(
    ({ record }) => record?.name === name,
  )
  if (holder === undefined) return
  throw new OciError(
    'conflict',
    `Cannot use container name "${name}": container ${holder.id.slice(0, 12)} has it`,
    { hint: `Remove that one ("tsrun rm ${name}") or use another name` },
  )
}

/** Looks the user up and makes the working directory; the root is closed again before the run. */
function prepareContainer({ id, mount }: HeldContainer, request: ContainerRequest): SandboxSpec {
  const { image, options } = request
  using root = openRoot(mount)
  const user = userInRoot(root, request.user ?? image.config.User ?? '', request.groups)
  const directory = workingDirectory(image.config, options)
  root.mkdirs(directory, { mode: 0o755, uid: 0, gid: 0 })
  return containerSpec(image.config, options, { id, root: mount, user, home: user.home })
}
