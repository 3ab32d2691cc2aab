/** Starts the programs in processes/, which use the compiled store as another process would. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Compiled, compileSources } from '../../support/compiled.ts'

let compiled: Compiled | undefined
const running = new Set<ChildProcess>()

export interface Running {
  /** The next line it prints; undefined when it ended instead. */
  line(): Promise<string | undefined>
  kill(): void
  /** Its exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>
}

export function startProcess(name: string, args: readonly string[]): Running {
  compiled ??= compileSources()
  const script = fileURLToPath(new URL(`./processes/${name}.mjs`, import.meta.url))
  const child: ChildProcess = spawn(process.execPath, [script, compiled.dist, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  const { stdout } = child
  if (stdout === null) throw new Error('The child has no stdout')
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  return {
    line: async () => (await lines.next()).value,
    kill: () => {
      child.kill('SIGKILL')
    },
    ended: once(child, 'exit').then(([code]) => code as number | null),
  }
}

/** For afterAll of the test file: also ends what a failed test left running. */
export function removeCompiled(): void {
  for (const child of running) child.kill('SIGKILL')
  compiled?.[Symbol.dispose]()
  compiled = undefined
}
