/**
 * A private buildkitd: newer than the BuildKit in any distribution's dockerd, where one is at hand.
 *
 * Its images come from a registry of ours on the loopback, its results as OCI layouts, which are
 * read as every other image is.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createReadStream, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { importLayout } from '../../src/layerfs/image/import-image.ts'
import { importRootfs } from '../../src/layerfs/image/import-rootfs.ts'
import { unpackImage } from '../../src/layerfs/image/unpack.ts'
import { readImage } from '../../src/layerfs/runtime/local-image.ts'
import { openStore, type Store } from '../../src/layerfs/store.ts'
import { hostPlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { createRegistryClient } from '../../src/registry/client/client.ts'
import { pushImage } from '../../src/registry/client/push.ts'
import { openAccess } from '../../src/registry/server/access/access.ts'
import { listen } from '../../src/registry/server/listen.ts'
import { MemoryObjectStore } from '../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../src/registry/storage/registry-storage.ts'
import type { ReferenceBuilder, ReferenceImage } from './reference-docker.ts'

/** Where `buildkitd` and `buildctl` are: in TSBUILD_BUILDKIT, else on the PATH. */
export function findBuildkit(): { buildkitd: string; buildctl: string } | undefined {
  const { TSBUILD_BUILDKIT: own, PATH = '' } = process.env
  const directory = [...(own === undefined ? [] : [own]), ...PATH.split(':')].find(
    place => existsSync(join(place, 'buildkitd')) && existsSync(join(place, 'buildctl')),
  )
  return directory === undefined
    ? undefined
    : { buildkitd: join(directory, 'buildkitd'), buildctl: join(directory, 'buildctl') }
}

/** `busybox` is an image on its Docker Hub: the root filesystem in the tar. */
export async function startReferenceBuildkit(
  directory: string,
  busyboxTar: string,
): Promise<ReferenceBuilder> {
  const programs = findBuildkit()
  if (programs === undefined) throw new Error('No buildkitd here')
  const store = await openStore(join(directory, 'buildkit-store'))
  const registry = await startHub(store, busyboxTar)
  const socket = `unix://${join(directory, 'buildkit.sock')}`
  const daemon = spawn(programs.buildkitd, daemonFlags(directory, socket, registry.port), {
    stdio: 'ignore',
  })
  const ask = (args: readonly string[]) => run(programs.buildctl, ['--addr', socket, ...args])
  await answers(daemon, async () => (await ask(['debug', 'workers'])).status === 0)
  let builds = 0
  return {
    isNewest: true,
    build: async (context, flags) => {
      builds++
      const dest = join(directory, `layout-${builds}`)
      const output = `type=oci,tar=false,compression=uncompressed,dest=${dest}`
      const args = ['build', '--progress', 'plain', '--frontend', 'dockerfile.v0']
      const locals = ['--local', `context=${context}`, '--local', `dockerfile=${context}`]
      // It would take a file of another context with the same size and time for the same file.
      await ask(['prune', '--filter', 'type==source.local'])
      const request = [
        ...args,
        ...locals,
        ...['--opt', 'force-network-mode=none'],
        ...frontendFlags(flags, context),
        ...['--output', output],
      ]
      // On a busy machine it may be late for itself.
      let answer = await ask(request)
      for (let tries = 1; tries < 4 && isLate(answer); tries++) answer = await ask(request)
      const { status, said } = answer
      if (status !== 0) return { failure: said }
      mkdirSync(dest, { recursive: true })
      return imageOf(store, dest)
    },
    [Symbol.asyncDispose]: async () => {
      await stop(daemon)
      await registry.close(0)
    },
  }
}

function isLate({ said }: { readonly said: string }): boolean {
  return said.includes('context deadline exceeded')
}

/** Debian's busybox as docker.io/library/busybox. */
async function startHub(store: Store, busyboxTar: string) {
  const registry = await listen({
    host: '127.0.0.1',
    port: 0,
    storage: createRegistryStorage(new MemoryObjectStore()),
    access: openAccess,
    onError: () => {},
    onRequest: () => {},
  })
  const platform = hostPlatform(process.arch)
  const config = { created: '2026-01-01T00:00:00Z', ...platform, config: {} }
  const tar = Readable.from(createReadStream(busyboxTar))
  const root = await importRootfs(tar, config, store.content)
  await using client = createRegistryClient({ userAgent: 'tsbuild/test' })
  const target = parseReference(`127.0.0.1:${registry.port}/library/busybox:latest`)
  await pushImage(client, target, { root, from: store.content })
  return registry
}

function daemonFlags(directory: string, socket: string, port: number): string[] {
  const config = join(directory, 'buildkitd.toml')
  const hub = `127.0.0.1:${port}`
  writeFileSync(
    config,
    `[registry."docker.io"]\nmirrors = ["${hub}"]\n[registry."${hub}"]\nhttp = true\n`,
  )
  return [
    ...['--config', config, '--root', join(directory, 'buildkit'), '--addr', socket],
    ...['--oci-worker-gc=false', '--containerd-worker=false', '--oci-worker-net', 'host'],
  ]
}

/** What is `--build-arg K=V` of docker is `--opt build-arg:K=V` here. */
function frontendFlags(flags: readonly string[], context: string): string[] {
  return flags.flatMap((flag, index) => {
    const value = flags[index + 1] ?? ''
    switch (flag) {
      case '--build-arg':
      case '--label':
        return ['--opt', `${flag.slice(2)}:${value}`]
      case '--target':
        return ['--opt', `target=${value}`]
      case '--build-context':
        return namedContext(value)
      case '-f':
        return ['--opt', `filename=${value.replace(`${context}/`, '')}`]
      default:
        return []
    }
  })
}

/** `name=directory`. */
function namedContext(text: string): string[] {
  const [name = '', directory = ''] = text.split('=')
  return ['--local', `${name}=${directory}`, '--opt', `context:${name}=local:${name}`]
}

async function answers(daemon: ChildProcess, ask: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (daemon.exitCode !== null) break
    if (await ask()) return
    await pause(100)
  }
  await stop(daemon)
  throw new Error('buildkitd does not answer')
}

async function stop(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return
  const ended = new Promise(resolve => daemon.once('exit', resolve))
  daemon.kill('SIGTERM')
  await ended
}

/** Not `spawnSync`: the registry that it may ask is in this process. */
function run(
  command: string,
  args: readonly string[],
): Promise<{ status: number | null; said: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString()
      })
    }
    child.on('error', reject)
    child.on('close', status => resolve({ status, said }))
  })
}

async function imageOf(store: Store, layout: string): Promise<ReferenceImage> {
  const [named] = await importLayout(layout, store.content)
  if (named === undefined) throw new Error(`${layout} has no image`)
  const { manifest, config } = await readImage(
    store.content,
    named.target,
    hostPlatform(process.arch),
  )
  const image = { manifest: manifest.value, config: config.value }
  const chain = await unpackImage(image, store)
  const mount =
    chain === undefined
      ? ({ kind: 'directory', path: store.stubs, readOnly: true } as const)
      : await store.snapshots.view(chain)
  return { config: config.value, mount }
}
