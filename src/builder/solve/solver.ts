/**
 * The solver: runs a graph of steps, as many at once as it may, reusing what is known.
 *
 * 1. A node starts when all its inputs are done, and runs at most once.
 * 2. The first failure cancels everything that runs; the promise settles after all of it is gone.
 * 3. A result is remembered only after its step ended well, and only if its key is still the same
 *    then: files that changed while they were read must not stand for what they were before. What
 *    builds on it begins meanwhile, and when that fails it is remembered all the same.
 *
 * It knows no Dockerfile and no disk: what a step keys on and does comes as an {@link Executor}.
 */
import { setImmediate } from 'node:timers/promises'
import { field } from '../../oci/json.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { Miss } from '../explain/miss.ts'
import { ShellEnded } from '../shell.ts'
import { cacheKey } from './cache-key.ts'
import { type CacheKey, chainOf, type KeyParts, type Node, type StepResult } from './graph.ts'
import type { Semaphore } from './semaphore.ts'
import type { StepCache, StepRecord } from './step-cache.ts'

export interface Executor<Work> {
  /**
   * What the step's result depends on; `undefined` when it has no key (a base image, whose result
   * is its identity, and a shell, which gives none).
   */
  keyParts(
    node: Node<Work>,
    inputs: readonly StepResult[],
    signal: AbortSignal,
  ): Promise<KeyParts | undefined>
  execute(node: Node<Work>, inputs: readonly StepResult[], signal: AbortSignal): Promise<StepResult>
  /** Whether earlier results may be used for this node. */
  mayReuse(node: Node<Work>): boolean
}

/** Why no earlier result is used: nobody wants one, or there is none. */
export type Ground = 'not-wanted' | 'not-found'

/** Is told of every step, so that it can say why one has to run. */
export interface Explainer {
  hit(node: Node<unknown>, parts: KeyParts): void
  /** Before the step runs. */
  miss(node: Node<unknown>, parts: KeyParts, ground: Ground): Promise<Miss>
  /** After it ran well. */
  ended(node: Node<unknown>): void
}

export interface SolveWorld<Work> {
  readonly executor: Executor<Work>
  readonly explain: Explainer
  readonly cache: StepCache
  readonly slots: Semaphore
  readonly emit: EmitBuildEvent
  readonly signal: AbortSignal
}

/** The results by node id. Rejects with the first failure, or with the signal's reason. */
export async function solve<Work>(
  nodes: readonly Node<Work>[],
  world: SolveWorld<Work>,
): Promise<ReadonlyMap<string, StepResult>> {
  const failure = new AbortController()
  const signal = AbortSignal.any([world.signal, failure.signal])
  const running = new Map<string, Promise<StepResult>>()
  const ends: Promise<void>[] = []
  for (const node of nodes) {
    const inputs = node.inputs.map(id => running.get(id) ?? missingInput(node, id))
    const result = new Promise<StepResult>((handOn, reject) => {
      const end = runNode(node, inputs, { ...world, signal, remembering: world.signal, handOn })
      end.catch((error: unknown) => {
        failure.abort(error)
        reject(error)
      })
      ends.push(end)
    })
    // Who waits for it hears of it, and so does `end`.
    result.catch(() => {})
    running.set(node.id, result)
  }
  await Promise.allSettled(ends)
  signal.throwIfAborted()
  const results = await Promise.all(running.values())
  return new Map(nodes.map((node, index) => [node.id, results[index] as StepResult]))
}

interface NodeWorld<Work> extends SolveWorld<Work> {
  /** Aborts for the user alone. */
  readonly remembering: AbortSignal
  /** To those that build on it. */
  readonly handOn: (result: StepResult) => void
}

function missingInput<Work>(node: Node<Work>, id: string): never {
  throw new Error(`Node ${node.id} reads ${id}, which does not stand before it`)
}

async function runNode<Work>(
  node: Node<Work>,
  pending: readonly Promise<StepResult>[],
  world: NodeWorld<Work>,
): Promise<void> {
  const inputs = await Promise.all(pending)
  using slot = await world.slots.acquire(world.signal)
  const { id, name, source } = node
  world.emit({ kind: 'started', id, name, ...field('source', source) })
  let isDone = false
  const done = ({ result, how, from }: Outcome) => {
    isDone = true
    const chain = chainOf(result)
    world.emit({ kind: 'done', id, how, ...field('chain', chain), ...field('from', from) })
    slot[Symbol.dispose]()
    world.handOn(resultAlone(result))
  }
  try {
    await findOrExecute(node, inputs, { ...world, done })
  } catch (error) {
    if (!isDone) world.emit(endOf(node.id, error, world.signal))
    throw error
  }
}

/** Without what a record or an execution says beside the result: it must not enter any key. */
function resultAlone({ layers, created }: StepResult): StepResult {
  return { layers, ...(created === undefined ? {} : { created }) }
}

function endOf(id: string, error: unknown, signal: AbortSignal) {
  if (signal.aborted) return { kind: 'canceled', id } as const
  if (error instanceof ShellEnded) return { kind: 'done', id, how: 'worked' } as const
  const message = error instanceof Error ? error.message : String(error)
  return { kind: 'failed', id, message } as const
}

interface Outcome {
  readonly result: StepResult
  readonly how: 'cached' | 'worked'
  readonly from?: string
}

/** Calls `done` once there is a result. */
async function findOrExecute<Work>(
  node: Node<Work>,
  inputs: readonly StepResult[],
  world: NodeWorld<Work> & { readonly done: (outcome: Outcome) => void },
): Promise<void> {
  const parts = await world.executor.keyParts(node, inputs, world.signal)
  if (parts === undefined) {
    const result = await world.executor.execute(node, inputs, world.signal)
    return world.done({ result, how: 'worked' })
  }
  const key = cacheKey(parts)
  const reused = (result: StepRecord) => {
    world.explain.hit(node, parts)
    world.done({ result, how: 'cached', ...field('from', result.from) })
  }
  const hit = await reusable(node, key, world)
  if (hit !== undefined) return reused(hit)
  await world.cache.exclusively(key, async () => {
    // Another process may have run the step while this one waited for it.
    const late = await reusable(node, key, world)
    if (late !== undefined) return reused(late)
    const ground = world.executor.mayReuse(node) ? 'not-found' : 'not-wanted'
    const miss = await world.explain.miss(node, parts, ground)
    world.emit({ kind: 'miss', id: node.id, miss })
    const result = await world.executor.execute(node, inputs, world.signal)
    world.done({ result, how: 'worked' })
    // The next step starts its program first: this is done while that runs.
    await setImmediate()
    if (await isKeyStill(key, node, { inputs, world })) {
      await world.cache.put(key, { ...resultAlone(result), parts })
    }
    world.explain.ended(node)
  })
}

async function isKeyStill<Work>(
  key: CacheKey,
  node: Node<Work>,
  { inputs, world }: { inputs: readonly StepResult[]; world: NodeWorld<Work> },
): Promise<boolean> {
  const parts = await world.executor.keyParts(node, inputs, world.remembering)
  return parts !== undefined && cacheKey(parts) === key
}

async function reusable<Work>(
  node: Node<Work>,
  key: CacheKey,
  world: SolveWorld<Work>,
): Promise<StepRecord | undefined> {
  return world.executor.mayReuse(node) ? world.cache.find(key) : undefined
}
