/**
 * Interrupts: SIGINT and SIGTERM as an AbortSignal.
 *
 * The first one asks everything to stop and clean up; the second ends the process at once, after
 * the registered `onExit` functions (a hidden cursor, a raw terminal) have run. Node waits for its
 * threads then, and one may hang in the kernel, at a FIFO that nobody opens: the third signal is the
 * kernel's, which ends the process whatever it does. While someone holds
 * the signals with `forwardTo`, they go there instead: to a container's process.
 */
import { CliError, exitCodes } from './cli-error.ts'

export interface Interrupts extends Disposable {
  /** Aborted by the first signal; its reason is a `CliError` with the exit code. */
  readonly signal: AbortSignal
  /** Until disposed, `signals` reach `handler` alone. */
  forwardTo(
    handler: (signal: NodeJS.Signals) => void,
    signals: readonly NodeJS.Signals[],
  ): Disposable
  /** Until disposed, SIGHUP reaches `handler` and stops nothing: servers read their files again. */
  onHangup(handler: () => void): Disposable
  /** Runs `restore` when the process ends in whatever way it can notice; until disposed. */
  onExit(restore: () => void): Disposable
}

export function catchInterrupts(): Interrupts {
  const controller = new AbortController()
  let receiver: ((signal: NodeJS.Signals) => void) | undefined
  let hangup: (() => void) | undefined
  const interrupt = (signal: NodeJS.Signals) => {
    if (signal === 'SIGHUP' && hangup !== undefined) {
      hangup()
      return
    }
    if (receiver !== undefined) {
      receiver(signal)
      return
    }
    const exitCode = signal === 'SIGTERM' ? exitCodes.terminated : exitCodes.interrupted
    if (controller.signal.aborted) {
      letGo()
      process.exit(exitCode)
    }
    controller.abort(new CliError(exitCode, 'Canceled'))
  }
  const own: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of own) process.on(signal, interrupt)
  const letGo = () => {
    for (const signal of own) process.off(signal, interrupt)
  }
  return {
    signal: controller.signal,
    forwardTo: (handler, signals) => {
      const others = signals.filter(signal => !own.includes(signal))
      receiver = handler
      for (const signal of others) process.on(signal, handler)
      return {
        [Symbol.dispose]: () => {
          receiver = undefined
          for (const signal of others) process.off(signal, handler)
        },
      }
    },
    onHangup: handler => {
      hangup = handler
      return {
        [Symbol.dispose]: () => {
          hangup = undefined
        },
      }
    },
    onExit: restore => {
      process.on('exit', restore)
      return { [Symbol.dispose]: () => void process.off('exit', restore) }
    },
    [Symbol.dispose]: letGo,
  }
}
