/** Who builds: tsbuild, built, one process for each build; and a private buildkitd of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findBuildkit } from '../../test/support/reference-buildkit.ts'
import { cleanEnvironment } from '../measure.ts'

export interface BuildAsk {
  readonly context: string
  /** Nothing leaves the builder unless this says so. */
  readonly output?:
    | { readonly kind: 'oci'; readonly path: string }
    | { readonly kind: 'push'; readonly name: string }
}

export interface Contestant extends AsyncDisposable {
  readonly name: string
  build(ask: BuildAsk): Promise<void>
  /** All it knows: cache, base images, contexts. */
  forget(): Promise<void>
  /** The most memory of the builds since the last call, in bytes. */
  takePeakMemory(): number
}

/** As `npm run build` made it. */
const program = fileURLToPath(new URL('../../dist/cli/tsbuild.js', import.meta.url))

export function startTsbuild(directory: string): Contestant {
  const report = join(directory, 'max-rss')
  const preload = join(directory, 'report-memory.cjs')
  writeFileSync(
    preload,
    `process.on('exit', () => require('node:fs').writeFileSync(${JSON.stringify(report)},
       String(process.resourceUsage().maxRSS)))\n`,
  )
  let stores = 0
  let peak = 0
  return {
    name: 'tsbuild',
    build: async ({ context, output }) => {
      const flags =
        output === undefined
          ? ['-o', 'type=cacheonly']
          : output.kind === 'oci'
            ? ['-o', `type=oci,dest=${output.path}`]
            : ['-t', output.name, '--push']
      const always = ['--network', 'none', '--progress', 'plain']
      const args = ['--require', preload, program, 'build', ...always, ...flags, context]
      const env = { ...cleanEnvironment, TSBUILD_ROOT: join(directory, `store-${stores}`) }
      await command(process.execPath, args, env)
      peak = Math.max(peak, Number(readFileSync(report, 'utf8')) * 1024)
    },
    forget: async () => {
      rmSync(join(directory, `store-${stores}`), { recursive: true, force: true })
      stores++
    },
    takePeakMemory: () => {
      const taken = peak
      peak = 0
      return taken
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

/** `undefined` where there is no buildkitd; TSBUILD_BUILDKIT is the directory of another one. */
export async function startBuildkit(
  directory: string,
  registryPort: number,
): Promise<Contestant | undefined> {
  const programs = findBuildkit()
  if (programs === undefined) return undefined
  mkdirSync(directory)
  const config = join(directory, 'buildkitd.toml')
  writeFileSync(config, `[registry."127.0.0.1:${registryPort}"]\nhttp = true\n`)
  const socket = `unix://${join(directory, 'buildkit.sock')}`
  const flags = ['--config', config, '--root', join(directory, 'root'), '--addr', socket]
  const worker = ['--oci-worker-gc=false', '--containerd-worker=false', '--oci-worker-net', 'host']
  const env = { ...cleanEnvironment, HOME: directory }
  const daemon = spawn(programs.buildkitd, [...flags, ...worker], { stdio: 'ignore', env })
  const ask = (args: readonly string[]) =>
    command(programs.buildctl, ['--addr', socket, ...args], env)
  await untilAnswers(daemon, () => ask(['debug', 'workers']))
  return {
    name: 'buildkitd',
    build: async ({ context, output }) => {
      const locals = ['--local', `context=${context}`, '--local', `dockerfile=${context}`]
      const network = ['--opt', 'force-network-mode=none']
      const front = ['build', '--progress', 'plain', '--frontend', 'dockerfile.v0']
      await ask([...front, ...locals, ...network, ...outputFlags(output)])
    },
    forget: () => ask(['prune', '--all']),
    takePeakMemory: () => {
      const process = `/proc/${daemon.pid}`
      const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`${process}/status`, 'utf8'))?.[1]
      // proc(5): sets the high-water mark to what is resident now.
      writeFileSync(`${process}/clear_refs`, '5')
      return Number(kibibytes) * 1024
    },
    [Symbol.asyncDispose]: () => stop(daemon),
  }
}

function outputFlags(output: BuildAsk['output']): string[] {
  if (output === undefined) return []
  return output.kind === 'oci'
    ? ['--output', `type=oci,dest=${output.path}`]
    : ['--output', `type=image,name=${output.name},push=true`]
}

/** Throws, with what it said, unless it ends with 0. */
async function command(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
  const said: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => said.push(chunk))
  }
  const [code] = await once(child, 'close')
  if (code === 0) return
  throw new Error(`${name} ${args.join(' ')}: exit code ${code}\n${Buffer.concat(said)}`)
}

async function untilAnswers(daemon: ChildProcess, ask: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await ask()
      return
    } catch (error) {
      if (attempt < 200 && daemon.exitCode === null) {
        await pause(100)
        continue
      }
      await stop(daemon)
      throw error
    }
  }
}

async function stop(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return
  const ended = once(daemon, 'exit')
  daemon.kill('SIGTERM')
  await ended
}
