/** The registries that are compared: ours, built, and Debian's docker-registry (distribution 2.8). */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface MeasuredServer extends AsyncDisposable {
  readonly name: string
  readonly port: number
  readonly root: string
  /** Resident memory now, in MiB. */
  rss(): number
}

/** Compiled beside the benchmark (scripts/bench.mjs). */
const program = fileURLToPath(new URL('../../src/cli/tsregistry.js', import.meta.url))

export async function startOurs(
  flags: readonly string[] = [],
  entry: string = program,
): Promise<MeasuredServer> {
  const root = newRoot()
  const port = await freePort()
  const args = [entry, 'serve', '--addr', `127.0.0.1:${port}`, '--root', root]
  const child = spawn(process.execPath, [...args, '--log-level', 'error', ...flags], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return serving('tsregistry', child, { port, root })
}

/** `undefined` when it is not installed. */
export async function startDistribution(): Promise<MeasuredServer | undefined> {
  if (spawnSync('docker-registry', ['--version']).status !== 0) return undefined
  const root = newRoot()
  const port = await freePort()
  const config = join(root, 'config.yml')
  writeFileSync(
    config,
    `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:${port}"}
`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  return serving('docker-registry', child, { port, root })
}

async function serving(
  name: string,
  child: ChildProcess,
  { port, root }: { readonly port: number; readonly root: string },
): Promise<MeasuredServer> {
  const { pid = 0 } = child
  for (let attempt = 0; attempt < 200; attempt++) {
    const isUp = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    )
    if (isUp) break
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return {
    name,
    port,
    root,
    rss: () => {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
      rmSync(root, { recursive: true, force: true })
    },
  }
}

function newRoot(): string {
  return mkdtempSync(join(tmpdir(), 'tsregistry-bench-'))
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
