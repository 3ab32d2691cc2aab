/**
 * Runs one program in a sandbox made for it, to its end. A killed process of ours leaves nothing
 * running and nothing mounted: see monitor.ts.
 */
import { runByRuntime } from './by-runtime.ts'
import { removeCreated } from './created-targets.ts'
import { exitOf, superviseMonitor } from './monitor.ts'
import { type MonitorProcess, startMonitor } from './monitor-process.ts'
import { killOrphan } from './orphan.ts'
import { prepareSandbox } from './prepare.ts'
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
  const prepared = prepareSandbox(spec, io, io.shared === undefined ? 'nothing' : 'end')
  using cgroup = prepared.cgroup
  const monitor = await startFor(io, prepared.isSeen)
  const outcome = await superviseMonitor(monitor, prepared.operations, io)
  if (outcome.exit === undefined && outcome.pid !== undefined) await killOrphan(outcome.pid)
  const written = writtenDirectory(spec.root)
  if (written !== undefined) removeCreated(written, outcome.created)
  io.signal?.throwIfAborted()
  return { ...exitOf(outcome), outOfMemory: cgroup.outOfMemory() }
}

function startFor(io: SandboxIo, isSeen: boolean): Promise<MonitorProcess> {
  const { stdin, output, shared, spawner } = io
  const isPlain = stdin === 'null' && output !== 'inherit' && shared === undefined && !isSeen
  if (isPlain && spawner !== undefined) return spawner.start()
  const out = output === 'inherit' ? 'inherit' : 'pipe'
  return startMonitor(
    [
      stdin === 'null' ? 'ignore' : 'inherit',
      out,
      out,
      ...(shared === undefined ? [] : [shared.lock, shared.control, shared.end]),
    ],
    { isSeen },
  )
}
