/** Several `tsregistry serve` over one bucket, that can be killed and started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TestS3Server } from './s3-server.ts'
import { freePort } from './s3-server.ts'

const program = fileURLToPath(new URL('../../dist/cli/tsregistry.js', import.meta.url))

export interface Replica {
  readonly port: number
  /** What it wrote to stderr, over all its lives. */
  log(): string
  /** On the same port; resolves when it takes requests. */
  start(): Promise<void>
  /** Ends it and waits for that. */
  stop(signal: NodeJS.Signals): Promise<void>
}

export async function startReplicas(
  server: TestS3Server,
  count: number,
  flags: readonly string[] = [],
): Promise<readonly Replica[]> {
  const replicas: Replica[] = []
  for (let i = 0; i < count; i++) replicas.push(replicaOn(await freePort(), server, flags))
  await Promise.all(replicas.map(replica => replica.start()))
  return replicas
}

function replicaOn(port: number, server: TestS3Server, flags: readonly string[]): Replica {
  let child: ChildProcess | undefined
  let log = ''
  const args = [program, 'serve', '--addr', `127.0.0.1:${port}`, '--storage', server.address]
  return {
    port,
    log: () => log,
    start: () =>
      new Promise((resolve, reject) => {
        child = spawn(process.execPath, [...args, '--log-level', 'error', ...flags], {
          env: { PATH: process.env['PATH'], ...server.environment },
          stdio: ['ignore', 'pipe', 'pipe'],
        })
        child.stdout?.on('data', () => resolve())
        child.stderr?.on('data', text => {
          log += text
        })
        child.once('exit', code => reject(new Error(`tsregistry ended with ${code}: ${log}`)))
      }),
    stop: async signal => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise(resolve => child?.once('exit', resolve))
      child.kill(signal)
      await ended
    },
  }
}
