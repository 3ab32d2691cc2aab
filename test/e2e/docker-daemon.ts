/** A Docker daemon of the test's own: nothing of the machine's is touched. */
import { existsSync, mkdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type Finished, type RunOptions, run, start } from './process.ts'
import type { Workspace } from './workspace.ts'

/** It becomes the daemon: a signal for one is for the other. No flag names that folder. */
const withSettings = 'mkdir -p /etc/docker && mount --bind "$0" /etc/docker && exec dockerd "$@"'

export interface DockerDaemon {
  /** The docker command line, talking to this daemon. Rejects unless it ends with 0. */
  docker(args: readonly string[], options?: RunOptions): Promise<Finished>
  /** Waits until it, its containerd and its mounts are gone. */
  stop(): Promise<void>
}

/** `settings`, made here, is what it has as /etc/docker, where it looks for certificates. */
export async function startDocker(
  { path, env }: Pick<Workspace, 'path' | 'env'>,
  flags: readonly string[] = [],
  settings: string = path('docker-settings'),
): Promise<DockerDaemon> {
  const socket = path('docker.sock')
  // Its own: a containerd that was too slow for dockerd leaves its stacks there, which no test is about.
  const temporary = path('docker-tmp')
  for (const folder of [settings, temporary]) mkdirSync(folder, { recursive: true })
  const daemon = start(
    'unshare',
    [
      ...['--mount', 'sh', '-c', withSettings, settings],
      ...['--data-root', path('docker'), '--exec-root', path('docker-exec')],
      ...['--host', `unix://${socket}`, '--pidfile', path('docker.pid')],
      // No interface and no rule of the machine's firewall: containers run with no network.
      ...['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
      ...['--storage-driver', 'vfs'],
      ...flags,
    ],
    { env: { ...env, TMPDIR: temporary }, timeoutMs: 600_000 },
  )
  const docker: DockerDaemon['docker'] = (args, options) =>
    run('docker', ['--host', `unix://${socket}`, ...args], { env, ...options })
  const stop = async () => {
    daemon.child.kill('SIGTERM')
    await daemon.finished
  }
  try {
    await daemon.said(/API listen on/)
    while (!existsSync(socket)) await delay(50)
    await docker(['version'])
  } catch (error) {
    await stop()
    throw error
  }
  return { docker, stop }
}
