/** While a container runs in the foreground, signals to us are signals to it. */
import { constants } from 'node:os'
import type { NativeHandle } from '../../layerfs/oci-runtime/native-container.ts'

const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
]

export interface SignalForwarding extends Disposable {
  /** Those that came before go there, too. */
  to(handle: NativeHandle): void
}

export function forwardSignals(): SignalForwarding {
  let target: NativeHandle | undefined
  const waiting: NodeJS.Signals[] = []
  const take = (signal: NodeJS.Signals) => {
    if (target === undefined) waiting.push(signal)
    else target.kill(constants.signals[signal])
  }
  for (const signal of forwarded) process.on(signal, take)
  return {
    to: handle => {
      target = handle
      for (const signal of waiting.splice(0)) take(signal)
    },
    [Symbol.dispose]: () => {
      for (const signal of forwarded) process.off(signal, take)
    },
  }
}
