/**
 * Runs one program in a sandbox made for it, to its end. A killed process of ours leaves nothing
 * running and nothing mounted: see monitor.ts.
 */
import { runByRuntime } from './by-runtime.ts'
import { removeCreated } from './created-targets.ts'
import type { EarlySandbox } from './early-sandboxes.ts'
import { exitOf, superviseMonitor } from './monitor.ts'
import { type MonitorProcess, startMonitor } from './monitor-process.ts'
import { killOrphan } from './orphan.ts'
import { type Prepared, prepareProgram, prepareSandbox } from './prepare.ts'
import type { SandboxIo } from './sandbox-io.ts'
import type { ExitStatus, SandboxSpec } from './spec.ts'
import { writtenDirectory } from './with-copies.ts'

/**
 * Runs `spec` to its end. Throws {@link SandboxError} when it could not be made or the program not
 * be started, the signal's reason when it was aborted; a program that fails is no error. Whatever
 * happens, no process, mount or cgroup is left, and no mount target that was made in the root's
 * upper directory unless something else is in it now.
 */
export async function runSandbox(spec: SandboxSpec, io: SandboxIo): Promise<ExitStatus> {
  io.signal?.throwIfAborted()
  if (io.runtime !== undefined) return await runByRuntime(spec, io, io.runtime)
  const early = await takeEarly(spec, io)
  const prepared = early ?? prepareSandbox(spec, io, io.shared === undefined ? 'nothing' : 'end')
  using cgroup = prepared.cgroup
  const monitor = early?.monitor ?? (await startFor(io, prepared))
  const ended = superviseMonitor(monitor, prepared.operations, io)
  if (io.isFollowed === true && isPlain(io, prepared)) io.early?.begin(spec)
  const outcome = await ended
  if (outcome.exit === undefined && outcome.pid !== undefined) await killOrphan(outcome.pid)
  const written = writtenDirectory(spec.root)
  if (written !== undefined) removeCreated(written, outcome.created)
  io.signal?.throwIfAborted()
  return { ...exitOf(outcome), outOfMemory: cgroup.outOfMemory() }
}

async function takeEarly(
  spec: SandboxSpec,
  io: SandboxIo,
): Promise<(Prepared & Pick<EarlySandbox, 'monitor'>) | undefined> {
  // Before one is ours: what is wrong with the program is no end of a sandbox.
  const operations = io.early?.waits(spec) === true ? prepareProgram(spec, io) : undefined
  const early = operations === undefined ? undefined : await io.early?.take(spec)
  if (operations === undefined || early === undefined) return undefined
  return { ...early, operations, isSeen: false }
}

function isPlain({ stdin, output, shared }: SandboxIo, { isSeen }: Prepared): boolean {
  return stdin === 'null' && output !== 'inherit' && shared === undefined && !isSeen
}

function startFor(io: SandboxIo, prepared: Prepared): Promise<MonitorProcess> {
  const { stdin, output, shared, spawner } = io
  if (isPlain(io, prepared) && spawner !== undefined) return spawner.start()
  const out = output === 'inherit' ? 'inherit' : 'pipe'
  return startMonitor(
    [
      stdin === 'null' ? 'ignore' : 'inherit',
      out,
      out,
      ...(shared === undefined ? [] : [shared.lock, shared.control, shared.end]),
    ],
    { isSeen: prepared.isSeen },
  )
}
