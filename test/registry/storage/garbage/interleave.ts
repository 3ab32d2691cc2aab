/**
 * Every order in which actors' operations on one store can happen.
 *
 * Each operation of each actor waits for its turn. A schedule is the list of who had the turns; it is
 * run from the start, so a failing one can be run again. The search branches where another actor
 * could have had the turn, as long as that preempts no more than `preemptions` times (switching at
 * the end of an actor is free), and nowhere twice from the same state: what is stored, and what each
 * actor has seen so far.
 */

import { MemoryObjectStore } from '../../../../src/registry/storage/memory.ts'
import type {
  DeleteOptions,
  ObjectStore,
  PutOptions,
} from '../../../../src/registry/storage/object-store.ts'

export interface Actor {
  readonly name: string
  /** Runs on a store of which each operation is a turn. What it throws fails the schedule. */
  run(objects: ObjectStore): Promise<void>
}

/** Knows whether it is as it was at another time. */
export class FingerprintedStore extends MemoryObjectStore {
  readonly #hashes = new Map<string, number>()
  #all = 0

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string> {
    const etag = await super.put(key, bytes, options)
    this.#note(key, hashOf(`${key}=${etag}`))
    return etag
  }

  override async delete(key: string, options?: DeleteOptions): Promise<void> {
    await super.delete(key, options)
    this.#note(key, 0)
  }

  fingerprint(): number {
    return this.#all
  }

  /** Another store with the same in it. */
  async copy(): Promise<FingerprintedStore> {
    const copy = new FingerprintedStore()
    for (const key of this.#hashes.keys()) {
      const object = await this.get(key)
      if (object !== undefined) await copy.put(key, object.bytes)
    }
    return copy
  }

  /** The sum of what each object adds, whatever the order they came in. */
  #note(key: string, hash: number): void {
    this.#all = (this.#all + hash - (this.#hashes.get(key) ?? 0)) % 2 ** 52
    this.#hashes.set(key, hash)
  }
}

export interface Scenario {
  readonly objects: FingerprintedStore
  readonly actors: readonly Actor[]
  /** Throws when what the actors were told is not so. Runs when nobody has a turn left. */
  check(): Promise<void>
}

export interface Exploration {
  readonly schedules: number
  readonly states: number
  /** Whether there was nothing left to try. */
  readonly isComplete: boolean
}

export interface Bounds {
  readonly preemptions: number
  readonly schedules: number
  /** How many actors may stop for good at any of their operations. */
  readonly crashes: number
}

interface Step {
  readonly actor: number
  readonly crash?: true
}

interface Branch {
  readonly steps: readonly Step[]
  readonly preemptions: number
  readonly crashes: number
}

/** Throws the first failure, with its schedule. */
export async function explore(make: () => Promise<Scenario>, bounds: Bounds): Promise<Exploration> {
  const waiting: Branch[] = [{ steps: [], preemptions: 0, crashes: 0 }]
  const visited = new Map<string, number>()
  let schedules = 0
  const pick = picker(waiting)
  for (let branch = pick(); branch !== undefined; branch = pick()) {
    if (schedules === bounds.schedules)
      return { schedules, states: visited.size, isComplete: false }
    schedules++
    waiting.push(...(await runBranch(make, { branch, bounds, visited })))
  }
  return { schedules, states: visited.size, isComplete: true }
}

/** Takes any: when not all can be tried, those that are should come from everywhere. */
function picker(waiting: Branch[]): () => Branch | undefined {
  let seed = 1
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    const at = Math.floor((seed / 2 ** 32) * waiting.length)
    const last = waiting.pop()
    if (last === undefined || at >= waiting.length) return last
    const picked = waiting[at]
    waiting[at] = last
    return picked
  }
}

interface Search {
  readonly branch: Branch
  readonly bounds: Bounds
  readonly visited: Map<string, number>
}

/** Runs the branch to its end, going on with whoever has the turn; returns the branches beside it. */
async function runBranch(make: () => Promise<Scenario>, search: Search): Promise<Branch[]> {
  const scenario = await make()
  const world = new World(scenario)
  const path: Path = { steps: [], preemptions: 0, crashes: 0, last: -1 }
  const found: Branch[] = []
  try {
    for (;;) {
      await world.settled()
      if (world.failure !== undefined) throw world.failure
      const ready = world.ready()
      if (ready.length === 0) break
      const forced = search.branch.steps[path.steps.length]
      const step = forced ?? { actor: ready.includes(path.last) ? path.last : (ready[0] as number) }
      if (forced === undefined) {
        const state = world.state()
        found.push(...branchesBeside(search, { path, ready, step, state }))
        // From here on it has all been tried.
        if (!isNew(search.visited, `${state} ${step.actor} `, path)) return found
      }
      advance(path, step, ready)
      world.turn(step)
    }
    await scenario.check()
  } catch (cause) {
    throw new Error(`Schedule ${world.describe(path.steps)}: ${(cause as Error).stack}`, { cause })
  }
  return found
}

interface Path {
  readonly steps: Step[]
  preemptions: number
  crashes: number
  last: number
}

interface Crossing {
  readonly path: Path
  readonly ready: readonly number[]
  readonly step: Step
  readonly state: string
}

function branchesBeside({ bounds, visited }: Search, crossing: Crossing): Branch[] {
  const { path, ready, step, state } = crossing
  const stays = ready.includes(path.last)
  return alternatives(ready, step.actor, path.crashes < bounds.crashes).flatMap(next => {
    const preemptions = path.preemptions + (stays && next.actor !== path.last ? 1 : 0)
    const crashes = path.crashes + (next.crash === true ? 1 : 0)
    if (preemptions > bounds.preemptions) return []
    const cost = { preemptions, crashes }
    if (!isNew(visited, `${state} ${next.actor} ${next.crash ?? ''}`, cost)) return []
    return [{ ...cost, steps: [...path.steps, next] }]
  })
}

/** Whether the state was not reached yet for as little. */
function isNew(
  visited: Map<string, number>,
  state: string,
  { preemptions, crashes }: { readonly preemptions: number; readonly crashes: number },
): boolean {
  const cost = preemptions * 10 + crashes
  if ((visited.get(state) ?? Number.POSITIVE_INFINITY) <= cost) return false
  visited.set(state, cost)
  return true
}

function advance(path: Path, step: Step, ready: readonly number[]): void {
  if (ready.includes(path.last) && step.actor !== path.last) path.preemptions++
  if (step.crash === true) path.crashes++
  path.steps.push(step)
  path.last = step.actor
}

function alternatives(ready: readonly number[], chosen: number, mayCrash: boolean): Step[] {
  const others = ready.filter(actor => actor !== chosen).map(actor => ({ actor }))
  return mayCrash ? [...others, ...ready.map(actor => ({ actor, crash: true as const }))] : others
}

class World {
  failure: unknown
  /** Actors that are between two turns, and who is told when there are none. */
  #running = 0
  #onSettled = () => {}
  readonly #scenario: Scenario
  /** Of each actor, operations that wait for their turn, in the order they were asked for. */
  readonly #waiting: (() => void)[][]
  /** What each actor has seen so far. */
  readonly #seen: number[]

  constructor(scenario: Scenario) {
    this.#scenario = scenario
    this.#waiting = scenario.actors.map(() => [])
    this.#seen = scenario.actors.map(() => 0)
    this.#running = scenario.actors.length
    for (const [i, actor] of scenario.actors.entries()) {
      const fail = (error: unknown) => {
        this.failure = error
      }
      void actor
        .run(this.#storeOf(i))
        .catch(fail)
        .then(() => this.#rest())
    }
  }

  /** When all who were let go have come to their next turn, or their end. Actors do one thing at a time. */
  settled(): Promise<void> | undefined {
    if (this.#running === 0) return undefined
    return new Promise(resolve => {
      this.#onSettled = resolve
    })
  }

  #rest(): void {
    this.#running--
    if (this.#running === 0) this.#onSettled()
  }

  ready(): number[] {
    return this.#waiting.flatMap((operations, i) => (operations.length > 0 ? [i] : []))
  }

  turn({ actor, crash }: Step): void {
    const [next] = this.#waiting[actor]!.splice(0, crash === true ? Number.POSITIVE_INFINITY : 1)
    if (crash === true) {
      this.#saw(actor, 'crashed')
    } else {
      this.#running++
      next?.()
    }
  }

  state(): string {
    return `${this.#scenario.objects.fingerprint()}|${this.#seen.join('|')}`
  }

  describe(steps: readonly Step[]): string {
    const words: string[] = []
    for (const [i, { actor, crash }] of steps.entries()) {
      const name = this.#scenario.actors[actor]?.name ?? ''
      if (crash === true) words.push(`${name} dies`)
      else if (i > 0 && steps[i - 1]?.actor === actor) words[words.length - 1] += '.'
      else words.push(`${name} .`)
    }
    return words.join(', ')
  }

  #storeOf(actor: number): ObjectStore {
    const { objects } = this.#scenario
    const turn = async <T>(what: string, operation: () => Promise<T>): Promise<T> => {
      const myTurn = new Promise<void>(resolve => this.#waiting[actor]!.push(resolve))
      this.#rest()
      await myTurn
      try {
        const result = await operation()
        this.#saw(actor, `${what} ${summary(result)}`)
        return result
      } catch (error) {
        this.#saw(actor, `${what} ${String(error)}`)
        throw error
      }
    }
    return {
      isShared: true,
      isReliable: true,
      unfinished: prefix => objects.unfinished(prefix),
      get: key => turn(`get ${key}`, () => objects.get(key)),
      size: key => turn(`size ${key}`, () => objects.size(key)),
      list: (prefix, page) =>
        turn(`list ${prefix} ${page.startAfter}`, () => objects.list(prefix, page)),
      put: (key, bytes, options) => turn(`put ${key}`, () => objects.put(key, bytes, options)),
      delete: (key, options) => turn(`delete ${key}`, () => objects.delete(key, options)),
      open: (key, range) => turn(`open ${key}`, () => objects.open(key, range)),
      discard: key => turn(`discard ${key}`, () => objects.discard(key)),
      append: async (key, from) => {
        const append = await turn(`append ${key}`, () => objects.append(key, from))
        return {
          write: chunks => append.write(chunks),
          checkpoint: () => turn(`checkpoint ${key}`, () => append.checkpoint()),
          complete: () => turn(`complete ${key}`, () => append.complete()),
          [Symbol.asyncDispose]: () => append[Symbol.asyncDispose](),
        }
      },
    }
  }

  #saw(actor: number, what: string): void {
    const seen = this.#seen[actor] as number
    this.#seen[actor] = hashOf(what, seen % 2 ** 32) + (seen % 1024)
  }
}

function summary(result: unknown): string {
  if (typeof result === 'object' && result !== null && 'etag' in result) return String(result.etag)
  return typeof result === 'object' && result !== null && Symbol.asyncIterator in result
    ? 'bytes'
    : (JSON.stringify(result) ?? '')
}

/** FNV-1a, twice: 52 bits are enough to tell a million states apart. */
function hashOf(text: string, seed = 0): number {
  let low = 0x811c9dc5 ^ seed
  let high = 0x9e3779b9 ^ seed
  for (let i = 0; i < text.length; i++) {
    low = Math.imul(low ^ text.charCodeAt(i), 0x01000193)
    high = Math.imul(high ^ text.charCodeAt(i), 0x85ebca6b)
  }
  return (low >>> 0) * 2 ** 20 + ((high >>> 0) & 0xfffff)
}
