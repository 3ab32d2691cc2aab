/**
 * The native program from outside (native/sandbox/sandbox.h has its guarantees): it makes the
 * container and stays beside it as its monitor. Between it and us: operations and then signals on
 * its descriptor 3, records on 4. It ends the container when descriptor 3 ends, unless it was told
 * to let go of us.
 */
import { constants } from 'node:os'
import { OciError, unreachable } from '../../oci/errors.ts'
import type { MonitorProcess } from './monitor-process.ts'
import { type CreatedTarget, RecordReader, type SandboxRecord } from './records.ts'
import { SandboxError, type SandboxFailure } from './sandbox-error.ts'
import type { ExitStatus, PublishedPort } from './spec.ts'

export interface RunningSandbox {
  /** Of the container's first process, outside. */
  readonly pid: number
  /** With the `bridge` network. */
  readonly address?: string
  /** Of the host, with the numbers that were found for those that could be any. */
  readonly ports: readonly PublishedPort[]
  /** Sends a signal to the first process; none after it ended. */
  kill(signal: number): void
}

export interface StartedSandbox extends RunningSandbox {
  /** From now on the container lives on without us. */
  letGo(): Promise<void>
}

export interface MonitorIo {
  readonly output: 'inherit' | ((stream: 'stdout' | 'stderr', chunk: Uint8Array) => void)
  readonly signal?: AbortSignal
  readonly onStarted?: (handle: StartedSandbox) => void
}

/** What became of it. */
export interface Outcome {
  readonly created: CreatedTarget[]
  readonly ports: PublishedPort[]
  pid?: number
  address?: string
  /** Why nothing ran. */
  failure?: SandboxFailure
  exit?: { readonly code: number; readonly signal: number }
  /** By a callback of ours, the first of them. */
  thrown?: { readonly error: unknown }
}

/** Throws what kept the program from running, or from being watched to its end. */
export function exitOf({ thrown, failure, exit }: Outcome): Omit<ExitStatus, 'outOfMemory'> {
  if (thrown !== undefined) throw thrown.error
  if (failure !== undefined) throw new SandboxError(failure)
  if (exit === undefined) {
    throw new OciError('unavailable', 'Cannot run the sandbox: its monitor was killed')
  }
  return { code: exit.code, ...(exit.signal === 0 ? {} : { signal: exit.signal }) }
}

/** How long an aborted monitor may take before it is killed itself, in milliseconds. */
const patience = 5_000

/** Resolves when the monitor is gone and all its output has been handed on. */
export function superviseMonitor(
  monitor: MonitorProcess,
  operations: Buffer,
  io: MonitorIo,
): Promise<Outcome> {
  return new Promise(resolve => {
    const { control } = monitor
    const outcome: Outcome = { created: [], ports: [] }
    let deadline: NodeJS.Timeout | undefined
    const stop = () => {
      control.write(Uint8Array.of(constants.signals.SIGKILL))
      deadline ??= setTimeout(() => monitor.kill(), patience)
    }
    const guard = (work: () => void) => {
      try {
        work()
      } catch (error) {
        outcome.thrown ??= { error }
        stop()
      }
    }
    // EPIPE: it ended before it read everything; how it ended says why.
    control.on('error', () => {})
    control.write(operations)
    readRecords(monitor, record => guard(() => note(record, { outcome, monitor, io })))
    readOutput(monitor, io, guard)
    io.signal?.addEventListener('abort', stop, { once: true })
    if (io.signal?.aborted === true) stop()
    void monitor.closed.then(() => {
      io.signal?.removeEventListener('abort', stop)
      clearTimeout(deadline)
      control.destroy()
      resolve(outcome)
    })
  })
}

function readRecords({ reports }: MonitorProcess, take: (record: SandboxRecord) => void): void {
  const reader = new RecordReader()
  reports.on('error', () => {})
  reports.on('data', (chunk: Uint8Array) => {
    for (const record of reader.push(chunk)) take(record)
  })
}

function readOutput(
  monitor: MonitorProcess,
  { output }: MonitorIo,
  guard: (work: () => void) => void,
): void {
  if (output === 'inherit') return
  monitor.output?.stdout.on('data', (chunk: Uint8Array) => guard(() => output('stdout', chunk)))
  monitor.output?.stderr.on('data', (chunk: Uint8Array) => guard(() => output('stderr', chunk)))
}

interface Run {
  readonly outcome: Outcome
  readonly monitor: MonitorProcess
  readonly io: MonitorIo
}

function note(record: SandboxRecord, run: Run): void {
  const { outcome } = run
  switch (record.kind) {
    case 'monitor':
      run.monitor.isNumbered?.(record.pid)
      return
    case 'created':
      outcome.created.push(record)
      return
    case 'made':
      return
    case 'network':
      outcome.address = record.address
      return
    case 'port': {
      const { kind: _, ...port } = record
      outcome.ports.push(port)
      return
    }
    case 'started':
      outcome.pid = record.pid
      run.io.onStarted?.(handleOf(record.pid, run))
      return
    case 'error':
      outcome.failure ??= record
      return
    case 'exit':
      outcome.exit = record
      return
    default:
      unreachable(record)
  }
}

function handleOf(pid: number, { outcome, monitor }: Run): StartedSandbox {
  const { control, reports } = monitor
  return {
    pid,
    ports: outcome.ports,
    ...(outcome.address === undefined ? {} : { address: outcome.address }),
    kill: signal => {
      if (outcome.exit === undefined) control.write(Uint8Array.of(signal))
    },
    letGo: async () => {
      await new Promise<void>(resolve => control.write(Uint8Array.of(letGo), () => resolve()))
      control.destroy()
      reports.destroy()
      monitor.unref()
    },
  }
}

/** native/sandbox/sandbox.h: LET_GO. */
const letGo = 255
