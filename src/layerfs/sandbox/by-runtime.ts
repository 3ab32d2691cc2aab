/**
 * A sandbox made by another runtime, crun or runc: `--isolation oci`.
 *
 * The root, its mounts and the network are made as ever (native/sandbox/by-runtime.c), in a mount
 * namespace that ends with us; what confines the program is the runtime's, told by a bundle.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import { makeDirectory } from '../content/atomic-file.ts'
import { isInUserNamespace } from '../layer/overlay-format.ts'
import { ownerMark, removeAllLeftovers } from './cgroup-leftovers.ts'
import { removeCreated } from './created-targets.ts'
import { resolvConf } from './host-files.ts'
import { exitOf, type Outcome, superviseMonitor } from './monitor.ts'
import { startMonitor } from './monitor-process.ts'
import { encodeWords } from './operation-words.ts'
import { type Keeping, runtimeOperations } from './operations.ts'
import { processStart } from './process-start.ts'
import { runtimeBundle } from './runtime-bundle.ts'
import { SandboxError } from './sandbox-error.ts'
import type { SandboxIo } from './sandbox-io.ts'
import type { ExitStatus, SandboxSpec } from './spec.ts'
import { stubDirectory } from './stub-directory.ts'

/** Where bundles are made: in memory, as secrets may be in them. */
const bundles = '/run/tsbuild/bundles'

/** As `runSandbox`. Throws `unsupported` for what this isolation does not have. */
export async function runByRuntime(
  spec: SandboxSpec,
  io: SandboxIo,
  runtime: string,
): Promise<ExitStatus> {
  assertPossible(spec)
  removeAllLeftovers()
  removeOldBundles()
  const name = `${io.id.replace(/[^\w-]/g, '_')}.${ownerMark()}`
  const bundle = join(bundles, name)
  try {
    for (const directory of ['rootfs', 'parking']) {
      makeDirectory(join(bundle, directory), 0o700)
    }
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(runtimeBundle(spec, name)))
    const outcome = await supervise(spec, io, { runtime, bundle, name })
    if (spec.root.kind === 'overlay' && spec.root.upper !== undefined) {
      removeCreated(spec.root.upper, outcome.created)
    }
    io.signal?.throwIfAborted()
    return { ...exitIn(bundle, outcome), outOfMemory: false }
  } finally {
    rmSync(bundle, { recursive: true, force: true })
  }
}

function assertPossible(spec: SandboxSpec): void {
  const impossible = [
    [spec.terminal, 'a terminal'],
    [spec.init === true, 'an init'],
    [spec.health !== undefined, 'a health check, which --no-healthcheck does without'],
    [(spec.joined ?? []).length > 0, 'namespaces of another container'],
    [spec.shared?.includes('pid') === true, 'the processes of this machine'],
    [isInUserNamespace(), 'a user other than root'],
    [typeof spec.security.seccomp === 'object', 'a seccomp profile'],
  ] as const
  const found = impossible.find(([isAsked]) => isAsked)
  if (found === undefined) return
  throw new OciError('unsupported', `Cannot use --isolation oci with ${found[1]}`, {
    hint: 'Use the native isolation',
  })
}

/** Those of processes that were killed. */
function removeOldBundles(): void {
  makeDirectory(bundles, 0o700)
  for (const entry of readdirSync(bundles)) {
    const [, pid, start] = /\.(\d+)\.(\d+)$/.exec(entry) ?? []
    if (pid === undefined || processStart(Number(pid)) === start) continue
    rmSync(join(bundles, entry), { recursive: true, force: true })
  }
}

interface Place {
  readonly runtime: string
  readonly bundle: string
  readonly name: string
}

/** The end alone: the output is the caller's, the cgroup the runtime's. */
const keeping: Keeping = {
  logs: false,
  logLimit: undefined,
  cgroups: [],
  memoryEvents: undefined,
  discard: undefined,
}

async function supervise(
  spec: SandboxSpec,
  io: SandboxIo,
  { runtime, bundle, name }: Place,
): Promise<Outcome> {
  const operations = encodeWords([
    ['runtime', runtime, bundle, name],
    ...runtimeOperations(spec, {
      stubs: stubDirectory(io.stubs),
      volatile: io.volatile ?? false,
      classicOverlay: false,
      cgroups: [],
      cgroup2: false,
      resolvConf: resolvConf(spec),
      devices: undefined,
      ...(io.shared === undefined ? {} : { keeping }),
    }),
  ])
  const out = io.output === 'inherit' ? 'inherit' : 'pipe'
  const { shared } = io
  const monitor = await startMonitor([
    io.stdin === 'null' ? 'ignore' : 'inherit',
    out,
    out,
    ...(shared === undefined ? [] : [shared.lock, shared.control, shared.end]),
  ])
  return await superviseMonitor(monitor, operations, io)
}

/** What the runtime has to say, which is in its log. */
function exitIn(bundle: string, outcome: Outcome): Omit<ExitStatus, 'outOfMemory'> {
  const { failure } = outcome
  if (failure?.step.startsWith('let the runtime') === true) {
    throw new SandboxError({ ...failure, detail: lastError(join(bundle, 'log')) })
  }
  return exitOf(outcome)
}

function lastError(log: string): string {
  try {
    const lines = readFileSync(log, 'utf8').trim().split('\n')
    const { msg } = JSON.parse(lines.at(-1) ?? '') as { readonly msg?: unknown }
    return String(msg)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return 'it did not say why'
    throw error
  }
}
