/** Making a container, before anything runs in it. */
import { join } from 'node:path'
import type { ChainId } from '../../oci/digest.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { RunConfig } from '../../oci/image-config.ts'
import { withLock } from '../content/file-lock.ts'
import { openRoot } from '../layer/rootfs.ts'
import type { RunningSandbox } from '../sandbox/monitor.ts'
import { processStart } from '../sandbox/process-start.ts'
import type { SandboxSpec } from '../sandbox/spec.ts'
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
import { writeJoinRecord } from './join-record.ts'
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
  readonly stop?: Pick<ContainerRecord, 'stopSignal' | 'stopTimeout'>
  readonly options: ContainerOptions
}

export type NewContainer = HeldContainer & { readonly record: ContainerRecord }

/** Throws `conflict` for a name that is taken, `invalid` for one that cannot be. */
export async function createContainer(
  store: Store,
  request: ContainerRequest,
  extra: Pick<ContainerRecord, 'createdAt' | 'detached'>,
): Promise<NewContainer> {
  const { image, name, options, lifetime, stop } = request
  const record: ContainerRecord = {
    ...(name === undefined ? {} : { name: checkName(name) }),
    image: image.name,
    imageId: image.id,
    argv: containerCommand(image.config, options),
    startedAt: extra.createdAt,
    lifetime,
    ...stop,
    ...extra,
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
export function prepareContainer(
  { id, mount, path }: HeldContainer,
  request: ContainerRequest,
): SandboxSpec {
  const { image, options } = request
  using root = openRoot(mount)
  const user = userInRoot(root, request.user ?? image.config.User ?? '', request.groups)
  const directory = workingDirectory(image.config, options)
  root.mkdirs(directory, { mode: 0o755, uid: 0, gid: 0 })
  const base = { id, root: mount, user, home: user.home }
  const spec = containerSpec(image.config, options, base)
  writeJoinRecord(path, spec)
  return spec
}

/** What is known once it runs. */
export function startedRecord(
  record: ContainerRecord,
  { pid, ports, address }: Pick<RunningSandbox, 'pid' | 'ports' | 'address'>,
): ContainerRecord {
  const start = processStart(pid)
  return {
    ...record,
    ...(start === undefined ? {} : { process: { pid, start } }),
    ...(ports.length === 0 ? {} : { ports }),
    ...(address === undefined ? {} : { address }),
  }
}
