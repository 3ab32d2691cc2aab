import { constants } from 'node:os'
import type { RunningSandbox } from '../../layerfs/sandbox/monitor.ts'
import { CliError, exitCodes } from '../cli-error.ts'
import type { CliContext } from '../command.ts'
import type { RunFlags } from './options/run-flags.ts'
import { signalNumber } from './signal-number.ts'

export const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
]

/** What SIGTERM, with which others stop us, means for the container. */
export interface StopRules {
  /** Given to the container instead. */
  readonly signal?: number
  /** The container is killed that long afterwards. */
  readonly timeoutMs?: number
}

/** Throws a usage error that names the flag. */
export function stopRules(flags: Pick<RunFlags, 'stop-signal' | 'stop-timeout'>): StopRules {
  const { 'stop-signal': signal, 'stop-timeout': seconds } = flags
  return {
    ...(signal === undefined ? {} : { signal: signalNumber(signal) }),
    // Docker's -1: for ever.
    ...(seconds === undefined || seconds < 0 ? {} : { timeoutMs: seconds * 1000 }),
  }
}

/**
 * Hands signals on to the container; those that come while it starts, as soon as it has. Its first
 * process ignores what it does not handle, so the third request to stop kills it.
 */
export class SignalForwarder implements Disposable {
  readonly #stderr: CliContext['stderr']
  readonly #stop: AbortController
  readonly #rules: StopRules
  readonly #waiting: NodeJS.Signals[] = []
  #handle: RunningSandbox | undefined
  #requests = 0
  #deadline: NodeJS.Timeout | undefined

  constructor(stderr: CliContext['stderr'], stop: AbortController, rules: StopRules) {
    this.#stderr = stderr
    this.#stop = stop
    this.#rules = rules
  }

  start(handle: RunningSandbox): void {
    this.#handle = handle
    for (const signal of this.#waiting) this.#deliver(handle, signal)
  }

  take(signal: NodeJS.Signals): void {
    if (this.#handle === undefined) this.#waiting.push(signal)
    else this.#deliver(this.#handle, signal)
    if (signal === 'SIGINT' || signal === 'SIGTERM') this.#countRequest()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#deadline)
  }

  #deliver(handle: RunningSandbox, signal: NodeJS.Signals): void {
    const { signal: stopSignal, timeoutMs } = this.#rules
    const isStop = signal === 'SIGTERM'
    handle.kill(isStop && stopSignal !== undefined ? stopSignal : constants.signals[signal])
    if (!isStop || timeoutMs === undefined) return
    this.#deadline ??= setTimeout(() => handle.kill(constants.signals.SIGKILL), timeoutMs)
  }

  #countRequest(): void {
    this.#requests++
    if (this.#requests === 2) this.#stderr.write('Still running; once more kills the container\n')
    if (this.#requests < 3) return
    if (this.#handle === undefined)
      this.#stop.abort(new CliError(exitCodes.interrupted, 'Canceled'))
    else this.#handle.kill(constants.signals.SIGKILL)
  }
}
