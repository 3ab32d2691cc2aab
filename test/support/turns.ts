/**
 * Orders in which actors' operations can happen.
 *
 * Each operation of each actor waits for its turn. A schedule is the list of who had the turns. The
 * search branches where another actor could have had the turn, as long as that takes it away from
 * one who could go on no more than `preemptions` times. What it tries is spread over all there is,
 * and the same in every run.
 */

/** Resolves when it is the actor's turn; not before `mayGo` says so. */
export type Turn = (mayGo?: () => boolean) => Promise<void>

export interface Scenario {
  /** What one throws fails the schedule. */
  readonly actors: Readonly<Record<string, (turn: Turn) => Promise<void>>>
  /** Throws when something is not as it should be. Runs when all actors have ended. */
  check(): Promise<void>
}

export interface Bounds {
  readonly preemptions: number
  /** The most that are tried. */
  readonly schedules: number
}

interface Branch {
  readonly steps: readonly number[]
  readonly preemptions: number
}

/** How many schedules were run. Throws the first failure, with its schedule. */
export async function explore(make: () => Promise<Scenario>, bounds: Bounds): Promise<number> {
  const waiting: Branch[] = [{ steps: [], preemptions: 0 }]
  let schedules = 0
  for (let seed = 1; waiting.length > 0 && schedules < bounds.schedules; schedules++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    const at = Math.floor((seed / 2 ** 32) * waiting.length)
    const [branch] = waiting.splice(at, 1)
    if (branch === undefined) break
    waiting.push(...(await runBranch(await make(), branch, bounds)))
  }
  return schedules
}

async function runBranch(scenario: Scenario, branch: Branch, bounds: Bounds): Promise<Branch[]> {
  const world = new World(scenario)
  const steps: number[] = []
  const found: Branch[] = []
  try {
    for (;;) {
      await world.settled()
      const ready = world.ready()
      if (ready.length === 0) break
      const isForced = steps.length < branch.steps.length
      const next = isForced ? (branch.steps[steps.length] as number) : goingOn(ready, steps)
      if (!isForced) found.push(...branchesBeside({ steps, ready, next, branch }, bounds))
      steps.push(next)
      world.turn(next)
    }
    world.assertEnded()
    await scenario.check()
  } catch (cause) {
    const message = cause instanceof Error ? cause.stack : String(cause)
    throw new Error(`Schedule ${world.describe(steps)}: ${message}`, { cause })
  }
  return found
}

/** Who had the last turn, as long as it can go on. */
function goingOn(ready: readonly number[], steps: readonly number[]): number {
  const last = steps.at(-1) ?? -1
  return ready.includes(last) ? last : (ready[0] as number)
}

interface Crossing {
  readonly steps: readonly number[]
  readonly ready: readonly number[]
  readonly next: number
  readonly branch: Branch
}

function branchesBeside({ steps, ready, next, branch }: Crossing, bounds: Bounds): Branch[] {
  const preemptions = branch.preemptions + (ready.includes(steps.at(-1) ?? -1) ? 1 : 0)
  if (preemptions > bounds.preemptions) return []
  const others = ready.filter(other => other !== next)
  return others.map(other => ({ steps: [...steps, other], preemptions }))
}

interface Waiting {
  readonly go: () => void
  readonly mayGo: () => boolean
}

class World {
  readonly #names: readonly string[]
  readonly #waiting: (Waiting | undefined)[]
  #running: number
  #left: number
  #failure: { readonly error: unknown } | undefined
  #onSettled = () => {}

  constructor({ actors }: Scenario) {
    this.#names = Object.keys(actors)
    this.#waiting = this.#names.map(() => undefined)
    this.#running = this.#left = this.#names.length
    for (const [i, run] of Object.values(actors).entries()) {
      void run(mayGo => this.#wait(i, mayGo))
        .catch((error: unknown) => {
          this.#failure ??= { error }
        })
        .then(() => {
          this.#left--
          this.#rest()
        })
    }
  }

  #wait(actor: number, mayGo = () => true): Promise<void> {
    return new Promise(resolve => {
      this.#waiting[actor] = { go: resolve, mayGo }
      this.#rest()
    })
  }

  #rest(): void {
    this.#running--
    if (this.#running === 0) this.#onSettled()
  }

  /** When all who were let go have come to their next turn, or their end. */
  async settled(): Promise<void> {
    if (this.#running > 0) {
      await new Promise<void>(resolve => {
        this.#onSettled = resolve
      })
    }
    if (this.#failure !== undefined) throw this.#failure.error
  }

  ready(): number[] {
    return this.#waiting.flatMap((waiting, i) => (waiting?.mayGo() === true ? [i] : []))
  }

  turn(actor: number): void {
    const waiting = this.#waiting[actor]
    this.#waiting[actor] = undefined
    this.#running++
    waiting?.go()
  }

  assertEnded(): void {
    if (this.#left > 0) throw new Error('Some actors wait for each other')
  }

  describe(steps: readonly number[]): string {
    return steps.map(actor => this.#names[actor]).join(' ')
  }
}
