/** `create`: a bundle becomes a container whose first process waits for its start. */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { parseJson } from '../../oci/json.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import { processStart } from '../sandbox/process-start.ts'
import { createOperations, flag, seccompProgram } from './bundle-operations.ts'
import {
  cgroupPath,
  directoriesOf,
  type MadeCgroup,
  makeContainerCgroup,
  processesIn,
  removeContainerCgroup,
} from './container-cgroup.ts'
import { allowedDevices } from './device-access.ts'
import { type NativeHandle, type NativeResult, runNative } from './native-container.ts'
import { resourceSettings } from './resource-settings.ts'
import { runHooks, tryHooks } from './run-hooks.ts'
import { parseRuntimeConfig, type RuntimeConfig } from './runtime-config.ts'
import {
  type ContainerState,
  filterFile,
  makeContainerDirectory,
  removeState,
  specState,
  writeState,
} from './state.ts'

export interface CreateRequest {
  readonly root: string
  readonly id: string
  readonly bundle: string
  /** Gets the number of the first process. */
  readonly pidFile?: string
  /** Gets the terminal of a detached container. */
  readonly consoleSocket?: string
  /** How many descriptors from 3 the program gets. */
  readonly preserved: number
  /** It outlives us, and whoever is its subreaper reaps it. */
  readonly isDetached: boolean
  /** Once it waits for its start. */
  readonly onCreated?: (state: ContainerState, handle: NativeHandle) => void | Promise<void>
}

/** A larger one is no configuration. */
const maxConfigSize = 16 * 1024 * 1024

/**
 * Throws `invalid` and `unsupported` for what the bundle gets wrong, with the field's path,
 * `already-exists`, and `SandboxError`. Nothing is left then: no process, cgroup or state.
 */
export async function createContainer(request: CreateRequest): Promise<NativeResult> {
  const bundle = resolve(request.bundle)
  const bytes = readConfig(join(bundle, 'config.json'))
  const config = parseRuntimeConfig(bytes)
  const rootfs = resolve(bundle, config.root.path)
  assertConsole(config, request)
  assertDirectory(rootfs)
  const seccomp = seccompProgram(config)
  const wishes = {
    path: cgroupPath(config.linux.cgroupsPath, request.id),
    settings: resourceSettings(config.linux.resources),
    devices: allowedDevices(config.linux.resources, config.linux.devices),
  }
  const directory = makeContainerDirectory(request.root, request.id)
  let cgroup: MadeCgroup | undefined
  let made: ContainerState | undefined
  try {
    cgroup = makeContainerCgroup(wishes, cgroupHierarchies())
    if (seccomp !== undefined) writeFileSync(filterFile(request.root, request.id), seccomp)
    const raw = parseJson('bundle', bytes).value as Record<string, unknown>
    const state = firstState(config, { request, bundle, rootfs, cgroup, raw })
    writeState(request.root, state)
    const note = (current: ContainerState) => {
      made = current
    }
    return await start(request, { config, state, cgroup, seccomp, directory, note })
  } catch (error) {
    removeState(request.root, request.id)
    if (cgroup !== undefined) await removeOnceLeft(cgroup)
    throw made === undefined ? error : await afterHooks(error, config, made)
  }
}

/** The first process has told why it ends, and may need a moment to. */
async function removeOnceLeft(cgroup: MadeCgroup): Promise<void> {
  const isLeft = () => directoriesOf(cgroup).every(path => processesIn(path).length === 0)
  for (let attempt = 0; attempt < 20 && !isLeft(); attempt++) await sleep(10)
  removeContainerCgroup(cgroup)
}

/** Once hooks have run, those of the end do, too (runtime.md, life cycle): what to throw then. */
async function afterHooks(
  error: unknown,
  { hooks }: RuntimeConfig,
  state: ContainerState,
): Promise<unknown> {
  const warnings = await tryHooks('poststop', hooks.poststop, specState(state, 'stopped'))
  if (warnings.length === 0 || !(error instanceof OciError)) return error
  return new OciError(error.code, `${error.message}; ${warnings.join('; ')}`, { cause: error })
}

/** Read at once and bounded: a bundle is somebody else's. */
function readConfig(path: string): Buffer {
  let file: number
  try {
    file = openSync(path, nonBlocking)
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ENOTDIR')) throw error
    throw new OciError('not-found', `Cannot run the bundle: no such file "${printable(path)}"`)
  }
  try {
    const status = fstatSync(file)
    if (!status.isFile())
      throw new OciError('invalid', `Cannot run the bundle: "${printable(path)}" is no file`)
    if (status.size > maxConfigSize) {
      throw new OciError(
        'too-large',
        `Cannot run the bundle: "${printable(path)}" is larger than 16 MiB`,
      )
    }
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** O_NONBLOCK: a FIFO of that name would be waited for. */
const nonBlocking = 0o4000

function assertConsole({ process }: RuntimeConfig, request: CreateRequest): void {
  if (process.terminal && request.isDetached && request.consoleSocket === undefined) {
    throw new OciError(
      'invalid',
      'Cannot create the container: process.terminal needs --console-socket',
    )
  }
  if (!process.terminal && request.consoleSocket !== undefined) {
    throw new OciError('invalid', 'Cannot use --console-socket: process.terminal is not set')
  }
}

function assertDirectory(rootfs: string): void {
  if (existsSync(rootfs) && statSync(rootfs).isDirectory()) return
  throw new OciError(
    'not-found',
    `Cannot run the bundle: root.path: no directory "${printable(rootfs)}"`,
  )
}

interface Parts {
  readonly request: CreateRequest
  readonly bundle: string
  readonly rootfs: string
  readonly cgroup: MadeCgroup
  readonly raw: Record<string, unknown>
}

function firstState(config: RuntimeConfig, parts: Parts): ContainerState {
  const { request, bundle, rootfs, cgroup, raw } = parts
  return {
    layout: 1,
    ociVersion: config.ociVersion,
    id: request.id,
    bundle,
    rootfs,
    created: new Date().toISOString(),
    owner: String(process.getuid?.() ?? 0),
    annotations: config.annotations,
    cgroup: {
      classic: cgroup.classic,
      ...(cgroup.unified === undefined ? {} : { unified: cgroup.unified }),
    },
    pid: 0,
    startTime: '',
    process: raw['process'],
    hooks: raw['hooks'],
    linux: ofEachProcess(raw['linux']),
  }
}

/** What a process that joins the container gets, too. */
function ofEachProcess(linux: unknown): unknown {
  const { memoryPolicy, personality, seccomp } = linux as Record<string, unknown>
  const { flags } = (seccomp ?? {}) as Record<string, unknown>
  return { memoryPolicy, personality, seccomp: { flags } }
}

interface Prepared {
  readonly config: RuntimeConfig
  readonly state: ContainerState
  readonly cgroup: MadeCgroup
  readonly seccomp: Uint8Array | undefined
  readonly directory: string
  /** Told once PID 1 is there. */
  readonly note: (state: ContainerState) => void
}

async function start(request: CreateRequest, prepared: Prepared): Promise<NativeResult> {
  const { config, state, cgroup, seccomp, directory, note } = prepared
  // A socket's path has room for 107 bytes; this one is short whatever the root is.
  const place = openSync(directory, 'r')
  const { preserved } = request
  const around = {
    rootfs: state.rootfs,
    bundle: state.bundle,
    cgroup,
    seccomp,
    startSocket: `/proc/self/fd/${firstPreserved + preserved}/start`,
    hooksState: hookStateParts(state),
  }
  let current = state
  try {
    return await runNative({
      operations: [
        ...createOperations(config, around),
        ...flag('detached', request.isDetached),
        ...(preserved === 0 ? [] : [['preserve', preserved] as const]),
        ...(request.consoleSocket === undefined
          ? []
          : [['console-socket', request.consoleSocket] as const]),
      ],
      descriptors: [...Array.from({ length: preserved }, (_, index) => 3 + index), place],
      onMade: async pid => {
        current = { ...state, pid, startTime: processStart(pid) ?? '' }
        writeState(request.root, current)
        note(current)
        const told = specState(current, 'creating')
        await runHooks('prestart', config.hooks.prestart, told)
        await runHooks('createRuntime', config.hooks.createRuntime, told)
      },
      onStarted: async (pid, handle) => {
        if (request.pidFile !== undefined) writeFileSync(request.pidFile, String(pid))
        await request.onCreated?.(current, handle)
      },
    })
  } finally {
    closeSync(place)
  }
}

/** The native program's: input, reports, and then ours. */
const firstPreserved = 5

/** What a hook inside reads, on both sides of the process id, which only the container knows. */
function hookStateParts(state: ContainerState): readonly [string, string, string] {
  const mark = 987_654_321
  const halves = (status: 'creating' | 'created') =>
    JSON.stringify(specState({ ...state, pid: mark }, status)).split(`"pid":${mark}`)
  const [creating = '', after = ''] = halves('creating')
  const [created = ''] = halves('created')
  return [`${creating}"pid":`, `${created}"pid":`, after]
}
