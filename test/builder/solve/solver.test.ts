import { describe, expect, it } from 'vitest'
import type { BuildEvent } from '../../../src/builder/build-event.ts'
import { missOf } from '../../../src/builder/explain/miss.ts'
import { cacheKey } from '../../../src/builder/solve/cache-key.ts'
import {
  type CacheKey,
  chainOf,
  type KeyParts,
  type Node,
  type StepResult,
} from '../../../src/builder/solve/graph.ts'
import { semaphore } from '../../../src/builder/solve/semaphore.ts'
import { type Executor, type Explainer, solve } from '../../../src/builder/solve/solver.ts'
import type { StepCache, StepRecord } from '../../../src/builder/solve/step-cache.ts'
import { type DiffId, digestOf } from '../../../src/oci/digest.ts'

type Work = (signal: AbortSignal) => Promise<void>

const idle: Work = async () => {}

function node(id: string, inputs: readonly string[] = [], work: Work = idle): Node<Work> {
  return { id, name: `step ${id}`, identity: { place: '', text: id }, inputs, work }
}

/** A step's result is the digest of its name and inputs; `extra` enters its key. */
function fakeExecutor(extra: KeyParts = {}) {
  const executed: string[] = []
  const executor: Executor<Work> = {
    keyParts: async (step, inputs) => ({ ...extra, step: step.id, ...chainsOf(inputs) }),
    execute: async (step, inputs, signal) => {
      executed.push(step.id)
      await step.work(signal)
      const layer = digestOf(JSON.stringify([step.id, inputs])) as string as DiffId
      return { layers: [...(inputs[0]?.layers ?? []), layer] }
    },
    mayReuse: () => true,
  }
  return { executor, executed }
}

function chainsOf(inputs: readonly StepResult[]): KeyParts {
  return Object.fromEntries(
    inputs.map((input, index) => [`input ${index}`, chainOf(input) ?? 'empty']),
  )
}

function memoryCache() {
  const records = new Map<CacheKey, StepRecord>()
  const cache: StepCache = {
    find: async key => records.get(key),
    put: async (key, record) => void records.set(key, record),
    exclusively: (_key, work) => work(),
  }
  return { cache, records }
}

function world(executor: Executor<Work>, cache: StepCache, slots = 4) {
  const events: BuildEvent[] = []
  const stop = new AbortController()
  const emit = (event: BuildEvent) => events.push(event)
  const { signal } = stop
  return { executor, cache, explain, slots: semaphore(slots), emit, signal, events, stop }
}

const explain: Explainer = {
  hit: () => undefined,
  miss: async (_node, _parts, ground) =>
    missOf([{ kind: ground === 'not-wanted' ? 'no-cache' : 'pruned' }]),
  ended: () => undefined,
}

describe('solve()', () => {
  it('runs independent steps at once and a dependent one after its inputs', async () => {
    const order: string[] = []
    let release = () => {}
    const both = new Promise<void>(resolve => {
      release = resolve
    })
    const meet: Work = async () => {
      order.push('side')
      if (order.length === 2) release()
      await both
    }
    const { executor } = fakeExecutor()
    const last: Work = async () => void order.push('last')
    const nodes = [node('a', [], meet), node('b', [], meet), node('c', ['a', 'b'], last)]
    await solve(nodes, world(executor, memoryCache().cache))
    expect(order).toEqual(['side', 'side', 'last'])
  })

  it('reuses every result of an unchanged graph and says so', async () => {
    const nodes = [node('a'), node('b', ['a'])]
    const { cache } = memoryCache()
    const first = await solve(nodes, world(fakeExecutor().executor, cache))
    const { executor, executed } = fakeExecutor()
    const again = world(executor, cache)
    expect(await solve(nodes, again)).toEqual(first)
    expect(executed).toEqual([])
    expect(again.events.filter(event => event.kind === 'done')).toEqual([
      { kind: 'done', id: 'a', how: 'cached', chain: expect.any(String) },
      { kind: 'done', id: 'b', how: 'cached', chain: expect.any(String) },
    ])
  })

  it('tells on a miss, before the step runs, that nothing was found or nothing is wanted', async () => {
    const { cache } = memoryCache()
    const { executor } = fakeExecutor()
    const first = world(executor, cache)
    await solve([node('a')], first)
    expect(first.events.map(({ kind }) => kind)).toEqual(['started', 'miss', 'done'])
    const again = world({ ...executor, mayReuse: () => false }, cache)
    await solve([node('a')], again)
    const miss = { causes: [{ kind: 'no-cache' }], more: 0 }
    expect(again.events).toContainEqual({ kind: 'miss', id: 'a', miss })
  })

  it('cancels what runs on the first failure, waits for it, and rejects with that failure', async () => {
    const ended: string[] = []
    const slow: Work = signal =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          ended.push('slow')
          reject(signal.reason)
        })
      })
    const broken: Work = async () => {
      throw new Error('exit code: 1')
    }
    const { executor, executed } = fakeExecutor()
    const here = world(executor, memoryCache().cache)
    const nodes = [node('slow', [], slow), node('broken', [], broken), node('after', ['broken'])]
    await expect(solve(nodes, here)).rejects.toThrow('exit code: 1')
    expect(ended).toEqual(['slow'])
    expect(executed).not.toContain('after')
    expect(here.events).toContainEqual({ kind: 'canceled', id: 'slow' })
  })

  it('does not remember a failed step, nor one whose inputs changed while it ran', async () => {
    const { cache, records } = memoryCache()
    const broken: Work = async () => {
      throw new Error('no')
    }
    await expect(
      solve([node('a', [], broken)], world(fakeExecutor().executor, cache)),
    ).rejects.toThrow('no')
    const content = { file: 'as it was' }
    const changing = async () => {
      content.file = 'changed'
    }
    const { executor } = fakeExecutor()
    const keyParts = async () => ({ ...content })
    await solve([node('b', [], changing)], world({ ...executor, keyParts }, cache))
    expect(records.size).toBe(0)
  })

  it('remembers a step while what is built on it runs, and when that fails at once', async () => {
    const { cache, records } = memoryCache()
    const sizes: number[] = []
    const failing: Work = async () => {
      sizes.push(records.size)
      throw new Error('no')
    }
    const nodes = [node('a'), node('b', ['a'], failing)]
    const here = world(fakeExecutor().executor, cache, 1)
    await expect(solve(nodes, here)).rejects.toThrow('no')
    expect([...sizes, records.size]).toEqual([0, 1])
    expect(here.events.map(({ kind }) => kind)).toEqual([
      'started',
      'miss',
      'done',
      'started',
      'miss',
      'failed',
    ])
  })

  it('fails when a step that ended well cannot be remembered', async () => {
    const { cache } = memoryCache()
    const put = async () => {
      throw new Error('disk full')
    }
    const here = world(fakeExecutor().executor, { ...cache, put })
    await expect(solve([node('a')], here)).rejects.toThrow('disk full')
    expect(here.events.map(({ kind }) => kind)).toEqual(['started', 'miss', 'done'])
  })

  it('runs no more steps at once than there are slots', async () => {
    let running = 0
    let most = 0
    const busy: Work = async () => {
      running += 1
      most = Math.max(most, running)
      await new Promise(resolve => setTimeout(resolve, 1))
      running -= 1
    }
    const nodes = Array.from({ length: 12 }, (_, index) => node(`n${index}`, [], busy))
    await solve(nodes, world(fakeExecutor().executor, memoryCache().cache, 3))
    expect(most).toBe(3)
  })

  it('rejects with the reason of the signal and starts nothing more', async () => {
    const { executor, executed } = fakeExecutor()
    const here = world(executor, memoryCache().cache)
    here.stop.abort(new Error('interrupted'))
    await expect(solve([node('a')], here)).rejects.toThrow('interrupted')
    expect(executed).toEqual([])
  })
})

describe('cacheKey()', () => {
  it('depends on names and values of the parts, not on their order', () => {
    expect(cacheKey({ a: '1', b: '2' })).toBe(cacheKey({ b: '2', a: '1' }))
    expect(cacheKey({ a: '1', b: '2' })).not.toBe(cacheKey({ a: '2', b: '1' }))
    expect(cacheKey({ a: '1' })).not.toBe(cacheKey({ a: '1', b: '' }))
  })
})
