/**
 * Bytes from a plain connection into a file, hashed on their way, by a thread of the addon: through
 * Node's streams, each piece an object with memory of its own, they took four times as long (measured).
 */
import { getSystemErrorName } from 'node:util'
import { startingThread } from '../native/starting-thread.ts'
import { type HashHandle, syscalls } from '../native/syscalls.ts'

/** In the order of the addon's numbers. */
const receiveEnds = [
  'all received',
  'source broke',
  'source silent',
  'file failed',
  'stopped',
] as const

export interface Received {
  readonly end: (typeof receiveEnds)[number]
  /** All of these are in the file and in the hash. */
  readonly received: number
  /** What failed, with its `code`; absent where the connection was closed. */
  readonly error?: Error
}

export interface ReceiveLimits {
  /** How long nothing may come. */
  readonly idleMs: number
  /** Stops it. */
  readonly signal?: AbortSignal | undefined
  /** Is told now and then how many bytes came so far. */
  readonly onProgress?: (received: number) => void
}

export interface ReceiveInto {
  readonly file: number
  readonly hash: HashHandle
}

/** As often as anybody looks at it. */
const progressMs = 100

/**
 * The next `count` bytes of `socket`, the descriptor of a plain connection that nobody else reads, to
 * the end of a file that nobody else writes. Throws only when it cannot start.
 */
export async function receive(
  socket: number,
  count: number,
  { file, hash, idleMs, signal, onProgress }: ReceiveInto & ReceiveLimits,
): Promise<Received> {
  signal?.throwIfAborted()
  const { startReceive, stopReceive, receivedSoFar } = syscalls()
  let unwatch = () => {}
  const [end, received, errno] = await new Promise<[number, number, number]>(resolve => {
    const limits = [count, idleMs] as const
    const reception = startingThread('receive a blob', () =>
      startReceive(socket, file, limits, hash, (...told) => resolve(told)),
    )
    const onAbort = () => stopReceive(reception)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      onProgress && setInterval(() => onProgress(receivedSoFar(reception)), progressMs).unref()
    unwatch = () => {
      clearInterval(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  })
  unwatch()
  const told = { end: receiveEnds[end] ?? 'stopped', received }
  return errno === 0 ? told : { ...told, error: systemError(errno, told.end) }
}

/** As Node makes them. */
function systemError(errno: number, end: Received['end']): Error {
  const syscall = end === 'file failed' ? 'write' : 'read'
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${code}, ${syscall}`), { code, errno: -errno, syscall })
}
