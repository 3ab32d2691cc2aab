/**
 * A private dockerd with its own BuildKit: what a build of ours is compared with.
 *
 * Its images are read where it keeps them, for that costs milliseconds and `docker save` a second:
 *
 *   image/overlay2/imagedb/content/sha256/<image ID>   the config, byte for byte
 *   image/overlay2/layerdb/sha256/<chain ID>/cache-id  names the layer's directory
 *   overlay2/<cache-id>/diff                           in overlayfs's format, as ours
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { RootMount } from '../../src/layerfs/mount.ts'
import { chainIds, hexOf } from '../../src/oci/digest.ts'
import { type ImageConfig, parseImageConfig } from '../../src/oci/image-config.ts'

export interface ReferenceImage {
  readonly config: ImageConfig
  readonly mount: RootMount
}

export interface ReferenceBuilder extends AsyncDisposable {
  /** Whether its language is the one that we follow, not one of years before. */
  readonly isNewest: boolean
  /** What came out, or what BuildKit said against it. */
  build(context: string, flags: readonly string[]): Promise<ReferenceImage | { failure: string }>
}

export interface ReferenceDocker extends ReferenceBuilder {
  /** `docker run` to its end. */
  run(args: readonly string[]): { readonly status: number | null; readonly stdout: string }
}

/**
 * The client in /usr/bin is asked first: a newer one elsewhere may lack buildx, without which it
 * cannot build. `undefined` when there is none that can.
 */
export function findBuildingClient(): string | undefined {
  return ['/usr/bin/docker', 'docker'].find(client => {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DOCKER_BUILDKIT: '1' }
    const { status, stdout } = spawnSync(client, ['build', '--help'], { env })
    return status === 0 && stdout.includes('--secret')
  })
}

/** `busybox` is an image of the daemon's: the root filesystem in the tar. */
export async function startReferenceDocker(
  directory: string,
  busyboxTar: string,
): Promise<ReferenceDocker> {
  const client = findBuildingClient()
  if (client === undefined) throw new Error('No docker client here can build')
  const dataRoot = join(directory, 'docker')
  const socket = `unix://${join(directory, 'docker.sock')}`
  const daemon = spawn('dockerd', daemonFlags(directory, socket), { stdio: 'ignore' })
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: directory,
    DOCKER_HOST: socket,
    DOCKER_BUILDKIT: '1',
  }
  await answers(daemon, () => spawnSync(client, ['version'], { env }).status === 0)
  execFileSync(client, ['import', busyboxTar, 'busybox'], { env, stdio: 'ignore' })
  let builds = 0
  return {
    isNewest: false,
    run: args => spawnSync(client, ['run', ...args], { env, encoding: 'utf8' }),
    build: async (context, flags) => {
      builds++
      const idFile = join(directory, `image-${builds}`)
      const args = ['build', '--network', 'none', '--progress', 'plain', '--iidfile', idFile]
      const { status, said } = await run(client, [...args, ...flags, context], env)
      if (status !== 0) return { failure: said }
      return imageOf(dataRoot, readFileSync(idFile, 'utf8'))
    },
    [Symbol.asyncDispose]: async () => {
      await stop(daemon)
      // It mounts its directory over itself, and does not always take that back.
      spawnSync('umount', [dataRoot], { stdio: 'ignore' })
    },
  }
}

function daemonFlags(directory: string, socket: string): string[] {
  return [
    ...['--data-root', join(directory, 'docker'), '--exec-root', join(directory, 'docker-exec')],
    ...['--host', socket, '--pidfile', join(directory, 'docker.pid')],
    // No interface and no rule of the machine's firewall: steps run without a network.
    ...['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
    ...['--storage-driver', 'overlay2'],
  ]
}

async function answers(daemon: ChildProcess, ask: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (daemon.exitCode !== null) break
    if (ask()) return
    await pause(100)
  }
  await stop(daemon)
  throw new Error('dockerd does not answer')
}

async function stop(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return
  const ended = new Promise(resolve => daemon.once('exit', resolve))
  daemon.kill('SIGTERM')
  await ended
}

function run(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ status: number | null; said: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
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

function imageOf(dataRoot: string, id: string): ReferenceImage {
  const database = join(dataRoot, 'image/overlay2')
  const bytes = readFileSync(join(database, 'imagedb/content/sha256', id.replace('sha256:', '')))
  const config = parseImageConfig(bytes).value
  const lower = chainIds(config.rootfs.diff_ids)
    .map(chain => {
      const record = join(database, 'layerdb/sha256', hexOf(chain), 'cache-id')
      return join(dataRoot, 'overlay2', readFileSync(record, 'utf8'), 'diff')
    })
    .reverse()
  const missing = lower.find(path => !existsSync(path))
  if (missing !== undefined) throw new Error(`${missing} is gone`)
  return { config, mount: { kind: 'overlay', lower } }
}
