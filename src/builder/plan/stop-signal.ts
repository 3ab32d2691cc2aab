/**
 * STOPSIGNAL (I06): a number, or a signal's name with or without `SIG`.
 */
import { DockerfileError } from '../dockerfile/error.ts'

const signals = new Set(
  `ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP
  SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX`.split(/\s+/),
)

/** Throws DockerfileError. */
export function checkStopSignal(text: string): void {
  const name = text.toUpperCase().replace(/^SIG/, '')
  const isNumber = /^[+-]?\d+$/.test(text) && Number(text) !== 0
  if (isNumber || signals.has(name) || isRealTime(name)) return
  throw new DockerfileError(`invalid signal: ${text}`)
}

/** RTMIN+1 … RTMIN+15, RTMAX-1 … RTMAX-14. */
function isRealTime(name: string): boolean {
  const match = /^RT(MIN\+|MAX-)([1-9]\d?)$/.exec(name)
  return match !== null && Number(match[2]) <= (match[1] === 'MIN+' ? 15 : 14)
}
