/** A containerd of the test's own, and `ctr` that talks to it. */
import { type Finished, run, start } from './process.ts'
import type { Workspace } from './workspace.ts'

export interface Containerd {
  /** Rejects unless it ends with 0. */
  ctr(...args: readonly string[]): Promise<Finished>
  stop(): Promise<void>
}

/** Without its part for Kubernetes. */
export async function startContainerd(work: Workspace): Promise<Containerd> {
  const { env } = work
  const socket = work.path('containerd.sock')
  const settings = work.write('containerd', {
    'config.toml': [
      'version = 2',
      `root = "${work.path('containerd-root')}"`,
      `state = "${work.path('containerd-state')}"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\naddress = "${socket}"`,
      `[ttrpc]\naddress = "${socket}.ttrpc"`,
    ].join('\n'),
  })
  const daemon = start('containerd', ['--config', `${settings}/config.toml`], {
    env,
    timeoutMs: 300_000,
  })
  await daemon.said(/successfully booted/)
  return {
    ctr: (...args) => run('ctr', ['--address', socket, ...args], { env }),
    stop: async () => {
      daemon.child.kill('SIGTERM')
      await daemon.finished
    },
  }
}
