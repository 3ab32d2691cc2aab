/** Real clients pull through the registry, by its name and as their mirror, with the upstream and without. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { startContainerd } from './containerd-daemon.ts'
import { type DockerDaemon, startDocker } from './docker-daemon.ts'
import { run } from './process.ts'
import { openWorkspace, type Registry } from './workspace.ts'

const work = openWorkspace('pull-through')
const insecure = '--tls-verify=false'
let upstream: Registry
let through: Registry
let isUpstreamStopped = false

beforeAll(async () => {
  const store = await work.storeWithBusybox('store')
  upstream = await work.serve()
  // Each tag is asked for anew each time: what is given without the upstream is stale.
  const config = work.write('config', {
    'config.yml': `version: 0.1
tsregistry:
  upstreams:
    up: {url: "${upstream.address}", tagttl: 0}
    "*": {url: "${upstream.address}", tagttl: 0}
`,
  })
  through = await work.serve([`${config}/config.yml`])
  await store.tsbuild(['push', 'busybox', `docker://${upstream.address}/library/busybox:1`])
})
afterAll(() => work.close())

async function stopUpstream(): Promise<void> {
  if (!isUpstreamStopped) await upstream.stop()
  isUpstreamStopped = true
}

describeWith(['root', 'build', 'busybox', 'skopeo', 'podman'], 'by its name', () => {
  const podman = (...args: string[]) => {
    const state = [
      ...['--root', work.path('podman'), '--runroot', work.path('podman-run')],
      ...['--tmpdir', work.path('podman-tmp'), '--storage-driver', 'vfs'],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
    ]
    return run('podman', [...state, ...args], { env: work.env })
  }

  test('podman pulls an image below the prefix', async () => {
    const image = `${through.address}/up/library/busybox:1`
    await podman('pull', '-q', insecure, image)
    expect((await podman('image', 'exists', image)).code).toBe(0)
  })

  test('skopeo copies it, and is refused to push it back', async () => {
    const image = `docker://${through.address}/up/library/busybox:1`
    const copy = ['copy', '--src-tls-verify=false', '--dest-tls-verify=false']
    await run('skopeo', [...copy, image, `dir:${work.path('copied')}`], { env: work.env })
    const pushing = run('skopeo', [...copy, `dir:${work.path('copied')}`, `${image}-2`], {
      env: work.env,
    })
    await expect(pushing).rejects.toThrow(/push to .* itself/)
  })
})

describeWith(['root', 'build', 'busybox', 'containerd'], 'as the mirror of containerd', () => {
  test('it is asked with ns, and gives the image of that registry', async () => {
    // Nothing listens there: what comes, comes from the mirror.
    const hosts = work.write('hosts', {
      [`${upstream.address.replace(':', '_')}_/hosts.toml`]: `server = "http://127.0.0.1:9"
[host."http://${through.address}"]
capabilities = ["pull", "resolve"]
`,
    })
    const daemon = await startContainerd(work)
    try {
      const image = `${upstream.address}/library/busybox:1`
      await daemon.ctr('content', 'fetch', '--hosts-dir', hosts, image)
      expect((await daemon.ctr('images', 'ls')).stdout).toContain(image)
    } finally {
      await daemon.stop()
    }
  })
})

describeWith(['root', 'build', 'busybox', 'docker'], 'as the mirror of docker', () => {
  let daemon: DockerDaemon | undefined
  afterAll(() => daemon?.stop())

  test('gives Docker Hub’s images, and gives them still when the upstream is gone', async () => {
    daemon = await startDocker(work, ['--registry-mirror', `http://${through.address}`])
    await daemon.docker(['pull', '-q', 'busybox:1'])
    const { stdout } = await daemon.docker(['images', '-q', 'busybox:1'])
    expect(stdout.trim()).not.toBe('')
    await daemon.docker(['rmi', 'busybox:1'])
    await stopUpstream()
    await daemon.docker(['pull', '-q', 'busybox:1'])
    expect((await daemon.docker(['images', '-q', 'busybox:1'])).stdout).toBe(stdout)
  })
})
