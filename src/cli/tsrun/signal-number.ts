import { constants } from 'node:os'
import { printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

/** `SIGQUIT`, `quit`, `3`, `SIGRTMIN+3`; `undefined` where Linux has none of that name. */
export function findSignal(text: string): number | undefined {
  const name = text.toUpperCase().replace(/^SIG/, '')
  const [, realTime] = /^RTMIN\+(\d+)$/.exec(name) ?? []
  const known = constants.signals[`SIG${name}` as NodeJS.Signals] as number | undefined
  const number = realTime === undefined ? (known ?? Number(text)) : firstRealTime + Number(realTime)
  return Number.isInteger(number) && number > 0 && number <= lastSignal ? number : undefined
}

/** As {@link findSignal}; throws a usage error. */
export function signalNumber(text: string): number {
  const number = findSignal(text)
  if (number !== undefined) return number
  throw usageError(`Cannot use signal "${printable(text)}": Linux has none of that name`)
}

const firstRealTime = 34
const lastSignal = 64
