// The thread that runs inputs: see ../fuzz.mjs.
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { Coverage } from './coverage.mjs'
import { Mutator } from './mutate.mjs'
import { targets } from './targets.mjs'

// Coverage costs milliseconds to look at: a batch that reached nothing new is looked at once.
const batchSize = 24
const statusSeconds = 15

const { name, shared, seconds, seed, input, saveTo } = workerData
const counter = new Int32Array(shared, 0, 2)
const current = new Uint8Array(shared, 8)
const { watched, open } = await import(targets[name])
const target = open()

try {
  if (input === undefined) await fuzz()
  else await attempt(Buffer.from(input))
  parentPort.postMessage({ kind: 'done' })
} catch (error) {
  parentPort.postMessage({ kind: 'finding', error: error?.stack ?? String(error) })
} finally {
  target.close()
}

async function fuzz() {
  const coverage = new Coverage(watched)
  const mutator = new Mutator(seed, target.words, target.block)
  const corpus = []
  for (const bytes of target.seeds) {
    await attempt(bytes)
    if (coverage.takeNew().size > 0) corpus.push(bytes)
  }
  const end = Date.now() + 1000 * seconds
  for (let nextStatus = Date.now(); Date.now() < end; ) {
    if (Date.now() >= nextStatus) {
      nextStatus += 1000 * statusSeconds
      tell(corpus, coverage)
    }
    const batch = Array.from({ length: batchSize }, () => mutated(mutator, corpus))
    for (const bytes of batch) await attempt(bytes)
    const fresh = coverage.takeNew()
    if (fresh.size === 0) continue
    for (const bytes of batch) {
      await attempt(bytes)
      if (claims(coverage.take(), fresh)) keep(bytes, corpus)
    }
  }
  tell(corpus, coverage)
}

// Whether some of `fresh` was reached, which is then no longer looked for.
function claims(reached, fresh) {
  const own = [...fresh].filter(place => reached.has(place))
  for (const place of own) fresh.delete(place)
  return own.length > 0
}

function mutated(mutator, corpus) {
  // Half of them from the newest: they reached what was reached last.
  const recent = corpus.slice(-16)
  const parent = mutator.pick(mutator.below(2) === 0 ? recent : corpus)
  const bytes = mutator.mutate(parent, corpus, current.length)
  if (mutator.below(10) > 0) target.repair?.(bytes)
  return bytes
}

async function attempt(bytes) {
  current.set(bytes)
  Atomics.store(counter, 1, bytes.length)
  Atomics.add(counter, 0, 1)
  await target.run(bytes)
}

function keep(bytes, corpus) {
  corpus.push(bytes)
  if (saveTo === undefined) return
  mkdirSync(saveTo, { recursive: true })
  writeFileSync(join(saveTo, createHash('sha1').update(bytes).digest('hex')), bytes)
}

function tell(corpus, coverage) {
  const inputs = Atomics.load(counter, 0)
  const text = `${inputs} inputs, ${corpus.length} kept, ${coverage.size} places reached`
  parentPort.postMessage({ kind: 'status', text })
}
