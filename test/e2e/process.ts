/** Other programs, as processes that never block the test's own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Given to the program, and then the end; without it, nothing at all. */
  readonly stdin?: string
  /** After this it is killed, and the run rejects. */
  readonly timeoutMs?: number
}

export interface Finished {
  /** As a shell has it: 128 and the signal's number for one that a signal ended. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Started {
  readonly child: ChildProcess
  /** Rejects when it cannot be started or takes too long; how it ended is no matter. */
  readonly finished: Promise<Finished>
  /** The first match in what it wrote, to either stream; rejects when it ends before. */
  said(pattern: RegExp): Promise<RegExpExecArray>
}

const defaultTimeoutMs = 120_000

export function start(command: string, args: readonly string[], options: RunOptions = {}): Started {
  const { cwd, env, stdin, timeoutMs = defaultTimeoutMs } = options
  const child = spawn(command, args, {
    cwd,
    env: env as NodeJS.ProcessEnv,
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  const written = { stdout: '', stderr: '' }
  const watchers = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      written[name] += text
      for (const look of watchers) look()
    })
  }
  // EPIPE: it ended before it read everything.
  child.stdin?.on('error', () => {}).end(stdin)
  const title = `${command} ${args.join(' ')}`
  const finished = new Promise<Finished>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${title}: not done in ${timeoutMs} ms\n${written.stdout}${written.stderr}`))
    }, timeoutMs)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code: code ?? 128 + signalNumber(signal), ...written })
    })
  })
  const said = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(written.stdout) ?? pattern.exec(written.stderr)
        if (match !== null) resolve(match)
      }
      watchers.add(look)
      look()
      finished.then(
        ({ stdout, stderr }) =>
          reject(new Error(`${title}: never said ${pattern}\n${stdout}${stderr}`)),
        reject,
      )
    })
  return { child, finished, said }
}

export function attempt(
  command: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<Finished> {
  return start(command, args, options).finished
}

/** Rejects, with all it said, unless it ends with 0. */
export async function run(
  command: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<Finished> {
  const finished = await attempt(command, args, options)
  if (finished.code === 0) return finished
  const { code, stdout, stderr } = finished
  throw new Error(`${command} ${args.join(' ')}: exit code ${code}\n${stdout}${stderr}`)
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : constants.signals[signal]
}
