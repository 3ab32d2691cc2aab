/** What the progress modes have in common. */
import type { Change, Trace } from './trace.ts'

export interface Renderer {
  /** After `trace` has taken an event in. */
  update(change: Change): void
  /** Gives the terminal to somebody else until it is resumed. */
  suspend?(): void
  resume?(): void
  /** Shows the last state and gives the terminal back. */
  close(): void
}

export interface Clock {
  /** Milliseconds. */
  now(): number
  /** Calls back until disposed; never keeps the process alive. */
  every(milliseconds: number, callback: () => void): Disposable
}

export interface RendererInput {
  readonly trace: Trace
  readonly clock: Clock
}

export const systemClock: Clock = {
  // `performance` takes Node longer to load than most builds take to be shown.
  now: () => Number(process.hrtime.bigint()) / 1e6,
  every: (milliseconds, callback) => {
    const timer = setInterval(callback, milliseconds)
    timer.unref()
    return { [Symbol.dispose]: () => clearInterval(timer) }
  },
}
