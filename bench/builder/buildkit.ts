/**
 * A private buildkitd, and the clients of it: buildctl, its own, which does the least; and buildx, which
 * people call. Both ask the same daemon, and for the same result: buildx for no attestations.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { findBuildkit } from '../../test/support/reference-buildkit.ts'
import { cleanEnvironment } from '../measure.ts'
import { type BuildAsk, type Contestant, command } from './contestants.ts'

export interface Buildkit extends AsyncDisposable {
  /** Forgets for both, and tells the daemon's memory. */
  readonly buildctl: Contestant
  /** Absent where there is none on the PATH, or beside buildkitd. */
  readonly buildx: Contestant | undefined
}

/** `undefined` where there is no buildkitd; TSBUILD_BUILDKIT is the directory of another one. */
export async function startBuildkit(
  directory: string,
  registryPort: number,
): Promise<Buildkit | undefined> {
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
  try {
    const ask = (args: readonly string[]) =>
      command(programs.buildctl, ['--addr', socket, ...args], env)
    await untilAnswers(daemon, () => ask(['debug', 'workers']))
    return {
      buildctl: buildctlOf(ask, daemon),
      buildx: await openBuildx(directory, socket),
      [Symbol.asyncDispose]: () => stop(daemon),
    }
  } catch (error) {
    await stop(daemon)
    throw error
  }
}

function buildctlOf(
  ask: (args: readonly string[]) => Promise<void>,
  daemon: ChildProcess,
): Contestant {
  return {
    name: 'buildctl',
    build: async ({ context, output }) => {
      const locals = ['--local', `context=${context}`, '--local', `dockerfile=${context}`]
      const network = ['--opt', 'force-network-mode=none']
      const front = ['build', '--progress', 'plain', '--frontend', 'dockerfile.v0']
      const outputs = output === undefined ? [] : ['--output', outputOf(output)]
      await ask([...front, ...locals, ...network, ...outputs])
    },
    forget: () => ask(['prune', '--all']),
    takePeakMemory: () => {
      const process = `/proc/${daemon.pid}`
      const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`${process}/status`, 'utf8'))?.[1]
      // proc(5): sets the high-water mark to what is resident now.
      writeFileSync(`${process}/clear_refs`, '5')
      return Number(kibibytes) * 1024
    },
  }
}

/** As a program of its own: without what docker adds that calls it as a plugin. */
async function openBuildx(directory: string, socket: string): Promise<Contestant | undefined> {
  const { TSBUILD_BUILDKIT: own, PATH = '' } = process.env
  const program = [...(own === undefined ? [] : [own]), ...PATH.split(':')]
    .map(place => join(place, 'buildx'))
    .find(path => existsSync(path))
  if (program === undefined) return undefined
  const places = { HOME: directory, BUILDX_CONFIG: join(directory, 'buildx') }
  const env = { ...cleanEnvironment, ...places, BUILDX_BUILDER: 'bench' }
  await command(program, ['create', '--name', 'bench', '--driver', 'remote', socket], env)
  const same = ['--network', 'none', '--provenance', 'false', '--progress', 'plain']
  return {
    name: 'buildx',
    build: async ({ context, output }) => {
      const outputs = output === undefined ? 'type=cacheonly' : outputOf(output)
      await command(program, ['build', ...same, '--output', outputs, context], env)
    },
    forget: async () => {},
    takePeakMemory: () => 0,
  }
}

function outputOf(output: NonNullable<BuildAsk['output']>): string {
  return output.kind === 'oci'
    ? `type=oci,dest=${output.path}`
    : `type=image,name=${output.name},push=true`
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
