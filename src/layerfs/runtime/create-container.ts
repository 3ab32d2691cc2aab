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
import { mergedHealthcheck } from './healthcheck.ts'
import { writeJoinRecord } from './join-record.ts'
import { saveSpec } from './saved-spec.ts'
import { userInRoot } from './user-in-root.ts'
import { ensureUsed, removeOwnVolumes, usedVolumes, volumeMounts, withVolumes } from './volumes.ts'

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
  /** Beside those of the image, and before them. */
  readonly labels?: Readonly<Record<string, string>>
  readonly options: ContainerOptions
  /** Once it is there; when it throws, it is taken away again. */
  readonly onCreated?: (id: string) => void
}

export type NewContainer = HeldContainer & { readonly record: ContainerRecord }

/** Throws `conflict` for a name that is taken, `invalid` for one that cannot be. */
export async function createContainer(
  store: Store,
  request: ContainerRequest,
  extra: CreationFacts,
): Promise<NewContainer> {
  const { image, name, options, lifetime, stop } = request
  const labels = { ...image.config.Labels, ...request.labels }
  const volumes = usedVolumes(
    image.config,
    options.volumes,
    options.mounts.map(m => m.target),
  )
  const healthcheck = mergedHealthcheck(image.config, options.healthcheck)
  const record: ContainerRecord = {
    ...(name === undefined ? {} : { name }),
    image: image.name,
    imageId: image.id,
    argv: containerCommand(image.config, options),
    lifetime,
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(volumes.length === 0 ? {} : { volumes }),
    ...stop,
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...extra,
  }
  const make = async () => ({ ...(await store.containers.create(image.chain, record)), record })
  const create = async () => {
    if (volumes.length === 0) return await make()
    return await withVolumes(store, async () => {
      await ensureUsed(store, record)
      return await make()
    })
  }
  return name === undefined ? await create() : await withFreeName(store, name, create)
}

type CreationFacts = Pick<ContainerRecord, 'createdAt'> &
  Partial<Pick<ContainerRecord, 'detached' | 'hasOpenInput' | 'logLimit' | 'startedAt'>>

/**
 * Looks the user up, fills the volumes and makes the working directory; the root is closed again
 * before the run.
 */
export async function prepareContainer(
  store: Store,
  { id, mount, path, record }: NewContainer,
  request: ContainerRequest,
): Promise<SandboxSpec> {
  const { image, options } = request
  request.onCreated?.(id)
  using root = openRoot(mount)
  const user = userInRoot(root, request.user ?? image.config.User ?? '', request.groups)
  const directory = workingDirectory(image.config, options)
  const volumes = await volumeMounts(store, { path, record }, root)
  root.mkdirs(directory, { mode: 0o755, uid: 0, gid: 0 })
  const base = { id, root: mount, user, home: user.home, volumes }
  const spec = containerSpec(image.config, options, base)
  writeJoinRecord(path, spec)
  saveSpec(path, spec)
  return spec
}

/** Takes one away that could not be started, with all that was made for it. */
export async function discardContainer(
  store: Store,
  { path, record }: Pick<NewContainer, 'path' | 'record'>,
): Promise<void> {
  await store.trash.discard(path)
  await removeOwnVolumes(store, record)
}

/** A container that {@link startAgain} starts first. Throws as {@link createContainer}, and leaves none then. */
export async function makeContainer(
  store: Store,
  request: ContainerRequest,
  facts: Pick<CreationFacts, 'createdAt' | 'hasOpenInput' | 'logLimit'>,
): Promise<string> {
  using container = await createContainer(store, request, { ...facts, detached: true })
  store.letGo()
  try {
    await prepareContainer(store, container, request)
    return container.id
  } catch (error) {
    await discardContainer(store, container)
    throw error
  }
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
