// Coverage-guided fuzzing of the built programs: `node scripts/fuzz.mjs TARGET [--minutes N]
// [--seconds N] [--seed N] [--save DIR]`, or `node scripts/fuzz.mjs TARGET FILE` to run one input.
//
// A thread runs inputs, keeps those that reach code no other reached, and makes the next ones out of
// them. This process watches it: an input that crashes the thread, exhausts its memory or takes
// more than `hangSeconds` is found too. What is found is written to a file, and ends the run with 1.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { targets } from './fuzz/targets.mjs'

const hangSeconds = 20
const maxInput = 1 << 20

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string' },
    seconds: { type: 'string' },
    seed: { type: 'string' },
    save: { type: 'string' },
  },
})
const [name = '', file] = positionals
if (!Object.hasOwn(targets, name)) {
  const names = Object.keys(targets).join('|')
  console.error(`Usage: node scripts/fuzz.mjs ${names} [FILE] [--minutes N | --seconds N]`)
  process.exit(125)
}

const seconds = Number(values.seconds ?? 60 * Number(values.minutes ?? 1))
const seed = Number(values.seed ?? Date.now() % 2 ** 31)
// How many inputs were begun, the length of the one that runs, and its bytes.
const shared = new SharedArrayBuffer(8 + maxInput)
const [counter, bytes] = [new Int32Array(shared, 0, 2), new Uint8Array(shared, 8)]
const input = file === undefined ? undefined : readFileSync(file)
const worker = new Worker(new URL('./fuzz/engine.mjs', import.meta.url), {
  workerData: { name, shared, seconds, seed, input, saveTo: values.save },
  resourceLimits: { maxOldGenerationSizeMb: 1024 },
  trackUnmanagedFds: false,
})
if (input === undefined) console.log(`Fuzzing ${name} for ${seconds} s, seed ${seed}`)

let finished = false
worker.on('message', message => {
  if (message.kind === 'status') console.log(message.text)
  if (message.kind === 'finding') report(message.error)
  if (message.kind === 'done') finished = true
})
worker.on('error', error => report(error.stack ?? String(error)))
worker.on('exit', code => {
  clearInterval(watch)
  if (!finished && process.exitCode === undefined) report(`The thread ended with code ${code}`)
})

// Of processor time: on a busy machine a thread may wait that long for its turn.
const usedSeconds = () => process.cpuUsage().user / 1e6
let last = { count: -1, since: usedSeconds() }
const watch = setInterval(() => {
  const count = Atomics.load(counter, 0)
  if (count !== last.count) last = { count, since: usedSeconds() }
  else if (usedSeconds() - last.since > hangSeconds) {
    report(`No answer within ${hangSeconds} s`)
    void worker.terminate()
  }
}, 1000)

function report(error) {
  const length = Atomics.load(counter, 1)
  const directory = values.save ?? join(tmpdir(), 'tsbuild-fuzz')
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${name}-finding-${Date.now()}`)
  writeFileSync(path, bytes.slice(0, length))
  console.error(`${error}\n\nInput of ${length} bytes: ${path}`)
  process.exitCode = 1
}
