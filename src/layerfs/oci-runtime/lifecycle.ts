/** What becomes of a container once it is there: started, signalled, paused, deleted. */
import { closeSync, existsSync, openSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, OciError } from '../../oci/errors.ts'
import { RecordReader } from '../sandbox/records.ts'
import { SandboxError } from '../sandbox/sandbox-error.ts'
import {
  directoriesOf,
  mainDirectory,
  processesIn,
  removeContainerCgroup,
  signalAll,
} from './container-cgroup.ts'
import { freeze } from './freezer.ts'
import { type Hooks, hooksFrom } from './hooks-config.ts'
import { runHooks, tryHooks } from './run-hooks.ts'
import {
  type ContainerState,
  containerDirectory,
  readState,
  removeState,
  type Status,
  specState,
  startSocket,
  statusOf,
} from './state.ts'

/** Each is a sentence to warn with. */
export type Warnings = readonly string[]

/**
 * Throws `conflict` unless the container is created, why its program could not be started, and
 * `unavailable` when a hook that runs then fails: the container is stopped, as runtime.md has it.
 */
export async function startContainer(root: string, id: string): Promise<void> {
  const state = readState(root, id)
  expectStatus(root, state, { action: 'start', wanted: ['created'] })
  await connectToStart(root, id)
  rmSync(startSocket(root, id), { force: true })
  try {
    await runHooks('poststart', hooksOf(state).poststart, specState(state, 'running'))
  } catch (error) {
    await endAll(root, state)
    throw error
  }
}

/** The answer is the connection's end: with an error's record before it, or without. */
async function connectToStart(root: string, id: string): Promise<void> {
  const directory = openSync(containerDirectory(root, id), 'r')
  const reader = new RecordReader()
  try {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(`/proc/self/fd/${directory}/start`)
      socket.on('error', cause =>
        reject(
          new OciError('conflict', `Cannot start container "${id}": it is not waiting`, { cause }),
        ),
      )
      socket.on('data', chunk => {
        for (const record of reader.push(chunk)) {
          if (record.kind === 'error') reject(new SandboxError(record))
        }
      })
      socket.on('close', () => resolve())
    })
  } catch (error) {
    if (error instanceof SandboxError) rmSync(startSocket(root, id), { force: true })
    throw error
  } finally {
    closeSync(directory)
  }
}

interface Expectation {
  readonly action: string
  readonly wanted: readonly Status[]
}

/** Throws `conflict`, naming the state it is in. */
export function expectStatus(
  root: string,
  state: ContainerState,
  { action, wanted }: Expectation,
): Status {
  const status = statusOf(root, state)
  if (wanted.includes(status)) return status
  const what = status === 'stopped' ? 'it is not running' : `it is ${status}`
  throw new OciError('conflict', `Cannot ${action} container "${state.id}": ${what}`)
}

/** Throws `conflict` for a container that has ended, unless all of its processes are meant. */
export function killContainer(
  { root, id, all }: { readonly root: string; readonly id: string; readonly all: boolean },
  signal: number,
): void {
  const state = readState(root, id)
  if (all) {
    if (directoriesOf(state.cgroup).length > 0) signalAll(state.cgroup, signal)
    return
  }
  expectStatus(root, state, { action: 'kill', wanted: ['created', 'running', 'paused'] })
  signalFirst(state, signal)
}

function signalFirst({ pid }: ContainerState, signal: number): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

export function pauseContainer(root: string, id: string, isPaused: boolean): void {
  const state = readState(root, id)
  const expected: Expectation = isPaused
    ? { action: 'pause', wanted: ['created', 'running'] }
    : { action: 'resume', wanted: ['paused'] }
  expectStatus(root, state, expected)
  freeze(state.cgroup, isPaused)
}

/** Throws `unsupported` where no cgroup knows them. */
export function listProcesses(root: string, id: string): number[] {
  return processesIn(mainDirectory(readState(root, id).cgroup, 'list processes'))
}

/**
 * Takes the container away, with what it has left. Throws `conflict` while it runs, unless `force`
 * ends it first; with `force`, one that is not there is no error.
 */
export async function deleteContainer(
  root: string,
  id: string,
  { force }: { readonly force: boolean },
): Promise<Warnings> {
  let state: ContainerState
  try {
    state = readState(root, id)
  } catch (error) {
    if (!force || !(hasCode(error, 'not-found') || hasCode(error, 'conflict'))) throw error
    if (existsSync(containerDirectory(root, id))) removeState(root, id)
    return []
  }
  const status = statusOf(root, state)
  if (!force && status === 'created') {
    signalFirst(state, constants.signals.SIGKILL)
  } else if (!force && status === 'creating') {
    expectStatus(root, state, { action: 'delete', wanted: ['stopped'] })
  } else if (!force && status !== 'stopped') {
    throw new OciError('conflict', `Cannot delete container "${id}": it is ${status}`, {
      hint: 'Stop it first, or use --force',
    })
  }
  await endAll(root, state)
  removeContainerCgroup(state.cgroup)
  removeState(root, id)
  return await tryHooks('poststop', hooksOf(state).poststop, specState(state, 'stopped'))
}

/** Processes that outlive the first one, too: without a process namespace of its own they do. */
async function endAll(root: string, state: ContainerState): Promise<void> {
  const isAlive = () => !['stopped', 'creating'].includes(statusOf(root, state))
  const left = () => directoriesOf(state.cgroup).some(path => processesIn(path).length > 0)
  if (isAlive()) signalFirst(state, constants.signals.SIGKILL)
  for (let attempt = 0; attempt < 500 && (isAlive() || left()); attempt++) {
    if (left()) endProcesses(state)
    await sleep(attempt < 20 ? 2 : 20)
  }
}

function endProcesses(state: ContainerState): void {
  const { cgroup } = state
  if (cgroup.unified !== undefined || cgroup.classic['freezer'] !== undefined) {
    signalAll(cgroup, constants.signals.SIGKILL)
    freeze(cgroup, false)
  }
}

/** Checked when the container was created. */
function hooksOf(state: ContainerState): Hooks {
  return hooksFrom({ document: 'state', path: 'hooks', value: state.hooks })
}
