/** While a process of a container runs in the foreground, signals to us are signals to it. */
import { constants } from 'node:os'
import type { NativeHandle } from '../../layerfs/oci-runtime/native-container.ts'

export const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
]

export interface SignalRelay {
  take(signal: NodeJS.Signals): void
  /** Those that came before go there, too. */
  to(handle: NativeHandle): void
}

export function signalRelay(): SignalRelay {
  let target: NativeHandle | undefined
  const waiting: NodeJS.Signals[] = []
  const take = (signal: NodeJS.Signals) => {
    if (target === undefined) waiting.push(signal)
    else target.kill(constants.signals[signal])
  }
  return {
    take,
    to: handle => {
      target = handle
      for (const signal of waiting.splice(0)) take(signal)
    },
  }
}

/** The process's own, until it is disposed of. */
export function forwardSignals(): SignalRelay & Disposable {
  const relay = signalRelay()
  for (const signal of forwarded) process.on(signal, relay.take)
  return {
    ...relay,
    [Symbol.dispose]: () => {
      for (const signal of forwarded) process.off(signal, relay.take)
    },
  }
}
