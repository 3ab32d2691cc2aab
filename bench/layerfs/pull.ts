/**
 * A pull with all that unpacking takes, by `tsrun create` as it is installed, against docker and
 * podman, from one registry of ours.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createReadStream, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { putBlob } from '../../src/layerfs/content/content-store.ts'
import { openContentStore } from '../../src/layerfs/content/directory-store.ts'
import { putDocument, putManifest } from '../../src/layerfs/image/write-manifest.ts'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf, parseDiffId } from '../../src/oci/digest.ts'
import { encodeImageConfig } from '../../src/oci/image-config.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { hostPlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { createRegistryClient } from '../../src/registry/client/client.ts'
import { pushImage } from '../../src/registry/client/push.ts'
import { cleanEnvironment, command, contest, isThere } from '../measure.ts'
import type { Case, CaseOptions } from './case.ts'
import { benchFiles, mixedFiles, writeTar } from './files.ts'

const layerCount = 8
const runs = 3

export const pullCase: Case = {
  title: 'pull and unpack 8 layers',
  run: async options => {
    const { directory } = options
    const registry = await serve(join(directory, 'registry'))
    try {
      const files = options.isQuick ? 500 : 3000
      const name = `localhost:${registry.port}/bench/image:1`
      const bytes = await pushBenchImage(name, { directory, files })
      await using others = await otherTools(name, options)
      const store = join(directory, 'store')
      let peakMemory = 0
      const ours = (run: number) => {
        // Removed at the end, with all the rest: it is still synced in the background.
        peakMemory = Math.max(peakMemory, createContainer(name, `${store}-${run}`))
      }
      const works = [ours, ...others.tools.map(({ pull }) => pull)]
      const [own = [], ...rest] = await contest(runs, {
        works,
        after: () => others.tools.map(({ forget }) => forget()),
      })
      const references = others.tools.map((tool, i) => ({
        name: tool.name,
        goal: tool.goal,
        ms: rest[i] ?? [],
      }))
      const detail = `${layerCount * files} files, ${(bytes / 1e6).toFixed(0)} MB packed`
      return { ours: own, peakMemory, memoryLimit: 150 * 2 ** 20, detail, references }
    } finally {
      await registry.stop()
    }
  },
}

const program = (name: string) => fileURLToPath(new URL(`../../dist/cli/${name}`, import.meta.url))

/** Pulls the image and unpacks it first, into a new store. Returns its peak memory, in bytes. */
function createContainer(image: string, root: string): number {
  const tellMemory = fileURLToPath(new URL('./tell-memory.cjs', import.meta.url))
  const start = ['--require', tellMemory, '--', program('tsrun.js')]
  const env = { ...cleanEnvironment, HOME: root, TSBUILD_ROOT: root }
  const said = command(process.execPath, [...start, 'create', '-q', image], env)
  return Number(/^peak (\d+)$/m.exec(said)?.[1] ?? Number.NaN) * 1024
}

interface Registry {
  readonly port: string
  stop(): Promise<void>
}

async function serve(root: string): Promise<Registry> {
  const args = ['--', program('tsregistry.js'), 'serve', '--addr', '127.0.0.1:0', '--root', root]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })
  for await (const line of lines) {
    const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port !== undefined) return { port, stop: () => stopped(child) }
  }
  throw new Error('The registry does not start')
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  await ended
}

/** Returns how many bytes the layers have. */
async function pushBenchImage(
  name: string,
  { directory, files }: { readonly directory: string; readonly files: number },
): Promise<number> {
  const content = openContentStore(join(directory, 'content'))
  const layers: Descriptor[] = []
  const diffIds = []
  for (let i = 0; i < layerCount; i++) {
    const tar = join(directory, `layer${i}.tar`)
    writeTar(tar, benchFiles({ count: files, sizes: mixedFiles, prefix: `layer${i}/` }))
    diffIds.push(parseDiffId(digestOf(readFileSync(tar))))
    command('gzip', [tar])
    const blob = await putBlob(content, createReadStream(`${tar}.gz`))
    layers.push({ mediaType: mediaTypes.layerGzip, ...blob })
    rmSync(`${tar}.gz`)
  }
  const config = encodeImageConfig({
    ...hostPlatform(process.arch),
    config: { Cmd: ['/bin/true'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: [],
  })
  const document = await putDocument(config, mediaTypes.config, content)
  const root = await putManifest(document, layers, content)
  await using client = createRegistryClient({ userAgent: 'bench' })
  await pushImage(client, parseReference(name), { root, from: content })
  rmSync(join(directory, 'content'), { recursive: true })
  return layers.reduce((sum, { size }) => sum + size, 0)
}

interface Tool {
  readonly name: string
  readonly goal: number
  pull(): unknown
  /** So that the next pull has all to do. */
  forget(): unknown
}

interface Tools extends AsyncDisposable {
  readonly tools: readonly Tool[]
}

async function otherTools(image: string, { directory }: CaseOptions): Promise<Tools> {
  const tools: Tool[] = []
  if (isThere('podman')) tools.push(podmanTool(image, directory))
  if (!isThere('dockerd')) return { tools, [Symbol.asyncDispose]: async () => {} }
  const { docker, stop } = await startDocker(directory)
  tools.unshift({
    name: 'docker pull',
    goal: 0.4,
    pull: () => docker('pull', '-q', image),
    forget: () => docker('rmi', '-f', image),
  })
  return { tools, [Symbol.asyncDispose]: stop }
}

async function startDocker(directory: string) {
  const socket = `unix://${join(directory, 'docker.sock')}`
  const daemon = spawn(
    'dockerd',
    [
      ...['--data-root', join(directory, 'docker'), '--exec-root', join(directory, 'docker-exec')],
      ...['--host', socket, '--pidfile', join(directory, 'docker.pid')],
      // No interface and no rule of the machine's firewall.
      ...['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
      ...['--storage-driver', 'overlay2'],
    ],
    { stdio: 'ignore', env: { ...cleanEnvironment, HOME: directory } },
  )
  const docker = (...args: string[]) => command('docker', ['--host', socket, ...args])
  try {
    await untilWorks(() => docker('version'), daemon)
  } catch (error) {
    await stopped(daemon)
    throw error
  }
  return { docker, stop: () => stopped(daemon) }
}

async function untilWorks(work: () => unknown, daemon: ChildProcess): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      work()
      return
    } catch (error) {
      if (attempt === 100 || daemon.exitCode !== null) throw error
      await pause(100)
    }
  }
}

function podmanTool(image: string, directory: string): Tool {
  const home = join(directory, 'podman')
  mkdirSync(home)
  const env = { ...cleanEnvironment, HOME: home, TMPDIR: home }
  const podman = (...args: string[]) =>
    command(
      'podman',
      [
        ...['--root', join(home, 'root'), '--runroot', join(home, 'run')],
        ...['--tmpdir', join(home, 'tmp'), '--storage-driver', 'overlay'],
        ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
        ...args,
      ],
      env,
    )
  return {
    name: 'podman pull',
    goal: 0.25,
    pull: () => podman('pull', '-q', '--tls-verify=false', image),
    forget: () => podman('rmi', '-f', image),
  }
}
