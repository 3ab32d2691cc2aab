/**
 * Starts the native program for a bundle or for a process that joins a container, and hears it until
 * it lets go: a detached one when PID 1 waits for its start, or runs; else when all has ended.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { OciError } from '../../oci/errors.ts'
import { nativePath } from '../native/native-programs.ts'
import { encodeWords, type Operation } from '../sandbox/operation-words.ts'
import { RecordReader, type SandboxRecord } from '../sandbox/records.ts'
import { SandboxError, type SandboxFailure } from '../sandbox/sandbox-error.ts'

export interface NativeRequest {
  readonly operations: readonly Operation[]
  /** Ours unless given: without our input, or nothing of them. */
  readonly stdio?: 'inherit' | 'no-input' | 'none'
  /** Descriptors from 3 that the program gets, and one of ours after them. */
  readonly descriptors?: readonly number[]
  /** PID 1 is there, its root not entered: what must run by then. When it throws, nothing starts. */
  readonly onMade?: (pid: number) => Promise<void>
  /** It waits for its start, or runs. */
  readonly onStarted?: (pid: number, handle: NativeHandle) => void | Promise<void>
}

export interface NativeHandle {
  /** To the first process, while it is not detached. */
  kill(signal: number): void
}

export interface NativeResult {
  readonly pid: number
  /** Unless it is detached. */
  readonly exit?: { readonly code: number; readonly signal: number }
}

interface Outcome {
  pid?: number
  failure?: SandboxFailure
  exit?: NativeResult['exit']
  thrown?: { readonly error: unknown }
  pending: Promise<void>
}

/**
 * Throws {@link SandboxError} when it could not be made or started, and what the callbacks throw;
 * nothing runs then.
 */
export async function runNative(request: NativeRequest): Promise<NativeResult> {
  const monitor = await spawnNative(request)
  const control = monitor.stdio[3] as Duplex
  const outcome: Outcome = { pending: Promise.resolve() }
  // EPIPE: it ended before it read everything; how it ended says why.
  control.on('error', () => {})
  const reader = new RecordReader()
  const reports = monitor.stdio[4] as Duplex
  reports.on('error', () => {})
  reports.on('data', (chunk: Uint8Array) => {
    for (const record of reader.push(chunk)) note(record, { outcome, control, request })
  })
  control.write(encodeWords(request.operations))
  await new Promise<void>(done => {
    monitor.on('close', () => done())
  })
  control.destroy()
  await outcome.pending
  return resultOf(outcome)
}

function resultOf({ thrown, failure, pid, exit }: Outcome): NativeResult {
  if (thrown !== undefined) throw thrown.error
  if (failure !== undefined) throw new SandboxError(failure)
  if (pid === undefined) {
    throw new OciError('unavailable', 'Cannot start the container: its first process was killed')
  }
  return { pid, ...(exit === undefined ? {} : { exit }) }
}

async function spawnNative({
  descriptors = [],
  stdio: own = 'inherit',
}: NativeRequest): Promise<ChildProcess> {
  const input = own === 'inherit' ? 'inherit' : 'ignore'
  const output = own === 'none' ? 'ignore' : 'inherit'
  const stdio: StdioOptions = [input, output, output, 'pipe', 'pipe', ...descriptors]
  const monitor = spawn(nativePath('sandbox'), ['sealed'], { stdio, env: {} })
  await new Promise<void>((resolve, reject) => {
    monitor.once('spawn', resolve)
    monitor.on('error', cause =>
      reject(
        new OciError('unavailable', `Cannot start the native program: ${cause.message}`, {
          cause,
          hint: 'run "npm run build" in the checkout; it needs a C compiler',
        }),
      ),
    )
  })
  return monitor
}

interface Run {
  readonly outcome: Outcome
  readonly control: Duplex
  readonly request: NativeRequest
}

function note(record: SandboxRecord, { outcome, control, request }: Run): void {
  const after = (work: () => void | Promise<void>) => {
    outcome.pending = outcome.pending.then(work).catch((error: unknown) => {
      outcome.thrown ??= { error }
      // Its end is the caller's: nothing has started, or is killed.
      control.end()
    })
  }
  switch (record.kind) {
    case 'made':
      after(async () => {
        await request.onMade?.(record.pid)
        control.write(goOn)
      })
      return
    case 'started':
      outcome.pid = record.pid
      after(() =>
        request.onStarted?.(record.pid, { kill: signal => control.write(Uint8Array.of(signal)) }),
      )
      return
    case 'error':
      outcome.failure ??= record
      return
    case 'exit':
      outcome.exit = record
      return
    default:
      // Mount targets stay, as other runtimes leave them; there is no network of ours.
      return
  }
}

const goOn = Uint8Array.of(0)
