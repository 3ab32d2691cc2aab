/** Random moments that a failing run prints the seed of: `KILL_SEED=… vitest run …` repeats them. */

export type Random = () => number

/** Numbers from 0 up to 1: Mulberry32. The seed is printed. */
export function seededRandom(what: string): Random {
  const { KILL_SEED } = process.env
  const seed = Number(KILL_SEED ?? Math.floor(Math.random() * 2 ** 32))
  process.stdout.write(`${what}: KILL_SEED=${seed}\n`)
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
