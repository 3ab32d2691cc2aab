/** `exec` for containers of bundles: a process of a file or of a command line joins one. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import { type JoinRequest, joinContainer } from './join-container.ts'
import { expectStatus } from './lifecycle.ts'
import type { NativeResult } from './native-container.ts'
import { type ProcessConfig, processFrom } from './process-config.ts'
import { commonFrom } from './scheduling-config.ts'
import { filterFile, readState } from './state.ts'

export interface ExecRequest extends Omit<JoinRequest, 'process'> {
  readonly root: string
  readonly id: string
  readonly pidFile?: string
  /** From what the container's own process is. */
  readonly process: (own: ProcessConfig) => ProcessConfig
}

/** Throws `conflict` unless it is created or runs, and what {@link joinContainer} throws. */
export async function execInContainer(request: ExecRequest): Promise<NativeResult> {
  const { root, id, pidFile } = request
  const state = readState(root, id)
  expectStatus(root, state, { action: 'exec in', wanted: ['created', 'running'] })
  const own = processFrom({ document: 'bundle', path: 'process', value: state.process })
  const process = request.process(own)
  if (process.terminal && request.isDetached && request.consoleSocket === undefined) {
    throw new OciError('invalid', 'Cannot exec: a terminal needs --console-socket or no --detach')
  }
  const filter = filterFile(root, id)
  return await joinContainer(
    {
      id,
      pid: state.pid,
      startTime: state.startTime,
      seccomp: existsSync(filter) ? readFileSync(filter) : undefined,
      common: commonFrom({ document: 'state', path: 'linux', value: state.linux ?? {} }),
    },
    {
      ...request,
      process,
      onStarted: (pid, handle) => {
        if (pidFile !== undefined) writeFileSync(pidFile, String(pid))
        request.onStarted?.(pid, handle)
      },
    },
  )
}
