import type { Clock } from '../../../src/cli/progress/renderer.ts'

/** A clock that stands still until it is told to go on. */
export function fakeClock(): Clock & { advance(milliseconds: number): void } {
  let now = 0
  const timers = new Set<{ readonly every: number; next: number; readonly callback: () => void }>()
  return {
    now: () => now,
    every: (milliseconds, callback) => {
      const timer = { every: milliseconds, next: now + milliseconds, callback }
      timers.add(timer)
      return { [Symbol.dispose]: () => void timers.delete(timer) }
    },
    advance: milliseconds => {
      const until = now + milliseconds
      for (;;) {
        const due = [...timers].filter(timer => timer.next <= until)
        const first = due.sort((a, b) => a.next - b.next)[0]
        if (first === undefined) break
        now = first.next
        first.next += first.every
        first.callback()
      }
      now = until
    },
  }
}
