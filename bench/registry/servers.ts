/** The registries that are compared: ours, built, and CNCF Distribution, as Debian has it and newer. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface MeasuredServer extends AsyncDisposable {
  readonly name: string
  readonly port: number
  readonly root: string
  /** Resident memory now, in MiB. */
  rss(): number
  /** See {@link processorMs}. */
  processorMs(): number
}

/** Compiled beside the benchmark (scripts/bench.mjs). */
const program = fileURLToPath(new URL('../../dist/cli/tsregistry.js', import.meta.url))

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

/** `docker-registry` is Debian's, `registry` what Go installs: those that this machine has. */
export async function startDistributions(): Promise<
  AsyncDisposable & { readonly servers: readonly MeasuredServer[] }
> {
  const folders = [...(process.env['PATH'] ?? '').split(':'), join(homedir(), 'go/bin')]
  const servers: MeasuredServer[] = []
  for (const name of ['docker-registry', 'registry']) {
    const path = folders.map(folder => join(folder, name)).find(existsSync)
    if (path !== undefined) servers.push(await startDistribution(name, path))
  }
  return {
    servers,
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) await server[Symbol.asyncDispose]()
    },
  }
}

async function startDistribution(name: string, path: string): Promise<MeasuredServer> {
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
  const environment = { ...process.env, OTEL_TRACES_EXPORTER: 'none' }
  const child = spawn(path, ['serve', config], { stdio: 'ignore', env: environment })
  return serving(name, child, { port, root })
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
    processorMs: () => processorMs(pid),
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** What a process has used so far, with those of its threads that have ended: in steps of 10 ms. */
export function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [user, system] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number)
  return ((user ?? Number.NaN) + (system ?? Number.NaN)) * 10
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
