/** Making a container, before anything runs in it. */
import type { ChainId } from '../../oci/digest.ts'
import type { RunConfig } from '../../oci/image-config.ts'
import { openRoot } from '../layer/rootfs.ts'
import type { RunningSandbox } from '../sandbox/monitor.ts'
import { processStart } from '../sandbox/process-start.ts'
import type { SandboxSpec } from '../sandbox/spec.ts'
import type { HeldContainer } from '../snapshot/containers.ts'
import type { Store } from '../store.ts'
import { withFreeName } from './container-name.ts'
import type { ContainerRecord } from './container-record.ts'
import {
  type ContainerOptions,
  containerCommand,
  containerSpec,
  workingDirectory,
} from './container-spec.ts'
import { writeJoinRecord } from './join-record.ts'
import { saveSpec } from './saved-spec.ts'
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
    ...(name === undefined ? {} : { name }),
    image: image.name,
    imageId: image.id,
    argv: containerCommand(image.config, options),
    startedAt: extra.createdAt,
    lifetime,
    ...stop,
    ...extra,
  }
  const create = async () => ({ ...(await store.containers.create(image.chain, record)), record })
  return name === undefined ? await create() : await withFreeName(store, name, create)
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
  saveSpec(path, spec)
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
