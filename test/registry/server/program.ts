/** The built `tsregistry serve` as a process of its own, on a free port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface ServedRegistry {
  readonly port: number
  readonly root: string
  /** Ends the process and waits for it; the exit code, or `null` when a signal killed it. */
  stop(signal: NodeJS.Signals): Promise<number | null>
  /** What it wrote to stderr so far. */
  log(): string
}

export async function serveRegistry(
  dist: string,
  root: string,
  flags: readonly string[] = [],
): Promise<ServedRegistry> {
  const program = join(dist, 'cli/tsregistry.js')
  const args = [program, 'serve', '--addr', '127.0.0.1:0', '--root', root, ...flags]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  child.stderr.on('data', chunk => {
    log += chunk
  })
  const exited = once(child, 'exit')
  const port = await portOf(child, () => log)
  // A test that fails before it stops the server leaves none behind.
  const killWithUs = () => child.kill('SIGKILL')
  process.once('exit', killWithUs)
  child.once('exit', () => process.removeListener('exit', killWithUs))
  return {
    port,
    root,
    log: () => log,
    stop: async signal => {
      child.kill(signal)
      const [code] = await exited
      return code
    },
  }
}

function portOf(child: ChildProcess, log: () => string): Promise<number> {
  return new Promise((resolve, reject) => {
    let seen = ''
    child.stdout?.on('data', chunk => {
      seen += chunk
      const port = /^Listening on http:\/\/127\.0\.0\.1:([0-9]+), storing in /.exec(seen)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
    child.once('exit', () => reject(new Error(`tsregistry ended: ${log()}`)))
  })
}
