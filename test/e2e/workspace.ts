/**
 * A place for one test file: directories, stores and registries of its own, and the built programs
 * run in it as a user runs them. Closing it proves that they left nothing.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { busyboxRootfs } from '../support/busybox.ts'
import { attempt, type Finished, type RunOptions, run, type Started, start } from './process.ts'

export const checkout: string = fileURLToPath(new URL('../..', import.meta.url))

export const fixture = (name: string): string => join(checkout, 'fixtures', name)

type Program = 'tsbuild' | 'tsrun' | 'tsregistry'

const builtProgram = (name: Program) => join(checkout, 'dist/cli', `${name}.js`)

export interface Store {
  /** What TSBUILD_ROOT is. */
  readonly root: string
  /** Rejects, with all it said, unless it ends with 0. */
  tsbuild(args: readonly string[], options?: RunOptions): Promise<Finished>
  tsrun(args: readonly string[], options?: RunOptions): Promise<Finished>
  /** However it ends. */
  attempt(program: Program, args: readonly string[], options?: RunOptions): Promise<Finished>
  start(program: Program, args: readonly string[], options?: RunOptions): Started
}

export interface Registry {
  /** 127.0.0.1:PORT */
  readonly address: string
  stop(): Promise<void>
}

export interface Workspace {
  readonly directory: string
  /** For other programs: a home and a temporary directory of the workspace. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** A path in it; not made. */
  path(name: string): string
  /** Writes files and the directories they need; the path of `name`. */
  write(name: string, files: Readonly<Record<string, string>>): string
  store(name: string): Store
  /** A store with an image `busybox`. */
  storeWithBusybox(name: string): Promise<Store>
  serve(flags?: readonly string[]): Promise<Registry>
  /** Stops what was started and removes all; throws when something was left behind. */
  close(): Promise<void>
}

/** Passed on from the tests' own environment: how to reach the world. */
const passedOn = ['PATH', 'SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'http_proxy', 'https_proxy']

export function openWorkspace(title: string): Workspace {
  const directory = mkdtempSync(join(tmpdir(), `tsbuild-e2e-${title}-`))
  const path = (name: string) => join(directory, name)
  for (const name of ['home', 'tmp']) mkdirSync(path(name))
  const env = {
    ...Object.fromEntries(passedOn.map(name => [name, process.env[name]])),
    HOME: path('home'),
    TMPDIR: path('tmp'),
  }
  const registries = new Set<Registry>()
  const store = (name: string) => storeAt(path(name), env)
  return {
    directory,
    env,
    path,
    store,
    write(name, files) {
      for (const [file, content] of Object.entries(files)) {
        mkdirSync(dirname(join(directory, name, file)), { recursive: true })
        writeFileSync(join(directory, name, file), content)
      }
      return path(name)
    },
    async storeWithBusybox(name) {
      const filled = store(name)
      await filled.tsbuild(['import', busyboxTar(path('busybox')), 'busybox'])
      return filled
    },
    async serve(flags = []) {
      const root = path(`registry-${registries.size}`)
      const registry = await serveRegistry(['--root', root, ...flags], env)
      registries.add(registry)
      return registry
    },
    async close() {
      for (const registry of registries) await registry.stop()
      const left = await leftIn(directory)
      await rm(directory, { recursive: true, force: true, maxRetries: 20 })
      if (left.length > 0) throw new Error(`Left behind:\n${left.join('\n')}`)
    },
  }
}

function busyboxTar(directory: string): string {
  if (existsSync(directory)) return join(directory, 'busybox.tar')
  mkdirSync(directory)
  return busyboxRootfs(directory)
}

function storeAt(root: string, env: Workspace['env']): Store {
  const withStore = (options: RunOptions = {}) => ({
    ...options,
    env: { ...env, TSBUILD_ROOT: root, ...options.env },
  })
  return {
    root,
    tsbuild: (args, options) => run(builtProgram('tsbuild'), args, withStore(options)),
    tsrun: (args, options) => run(builtProgram('tsrun'), args, withStore(options)),
    attempt: (name, args, options) => attempt(builtProgram(name), args, withStore(options)),
    start: (name, args, options) => start(builtProgram(name), args, withStore(options)),
  }
}

/** Of a server, which lives as long as its suite: soaks take hours. */
const longestMs = 24 * 60 * 60 * 1000

async function serveRegistry(flags: readonly string[], env: Workspace['env']): Promise<Registry> {
  const args = ['serve', '--addr', '127.0.0.1:0', ...flags]
  const server = start(builtProgram('tsregistry'), args, { env, timeoutMs: longestMs })
  const [, address = ''] = await server.said(/Listening on https?:\/\/(127\.0\.0\.1:\d+),/)
  return {
    address,
    async stop() {
      server.child.kill('SIGTERM')
      const { code, stderr } = await server.finished
      if (code !== 0) throw new Error(`tsregistry ended with ${code}: ${stderr}`)
    },
  }
}

/**
 * Processes and mounts that name the directory, and temporary files. The last of a process may take
 * a moment to go.
 */
export async function leftIn(directory: string): Promise<string[]> {
  let left: string[] = []
  for (let attempts = 0; attempts < 10; attempts++) {
    left = [...processesOf(directory), ...mountsOf(directory), ...temporaryFilesOf(directory)]
    if (left.length === 0) return left
    await delay(200)
  }
  return left
}

function mountsOf(directory: string): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return mounts.filter(line => line.includes(directory)).map(line => `mount ${line}`)
}

function processesOf(directory: string): string[] {
  const ids = readdirSync('/proc').filter(name => /^\d+$/.test(name) && name !== `${process.pid}`)
  return ids.flatMap(id => {
    const words = [`/proc/${id}/cmdline`, `/proc/${id}/environ`].map(readIfThere).join('\0')
    const command = readIfThere(`/proc/${id}/cmdline`).replaceAll('\0', ' ')
    return words.includes(directory) ? [`process ${id} ${command}`] : []
  })
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function temporaryFilesOf(directory: string): string[] {
  return readdirSync(join(directory, 'tmp')).map(name => `temporary file ${name}`)
}
