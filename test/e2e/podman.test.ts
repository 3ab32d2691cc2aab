/** podman and our programs: each uses what the other made. */
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { type RunOptions, run } from './process.ts'
import { fixture, openWorkspace, type Registry, type Store } from './workspace.ts'

describeWith(['root', 'build', 'busybox', 'podman', 'runc'], 'podman', () => {
  const work = openWorkspace('podman')
  let store: Store
  let registry: Registry
  let image: string
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    registry = await work.serve()
    image = `${registry.address}/podman/hello:1`
    await store.tsbuild(['-t', image, '--push', fixture('hello')])
  })
  afterAll(() => work.close())

  /**
   * All of its state is ours. Its default limits are more than a root without CAP_SYS_RESOURCE may
   * set, and crun refuses machines with both versions of cgroups: hence none, and runc.
   */
  const podman = (args: readonly string[], options?: RunOptions) => {
    const settings = work.write('podman-settings', {
      'containers.conf': '[containers]\ndefault_ulimits = []\n',
    })
    return run(
      'podman',
      [
        ...['--root', work.path('podman'), '--runroot', work.path('podman-run')],
        ...['--tmpdir', work.path('podman-tmp'), '--storage-driver', 'vfs'],
        ...['--cgroup-manager', 'cgroupfs', '--runtime', 'runc', '--events-backend', 'none'],
        ...args,
      ],
      { env: { ...work.env, CONTAINERS_CONF: `${settings}/containers.conf` }, ...options },
    )
  }
  const podmanRun = async (...args: string[]) =>
    (await podman(['run', '--rm', '--network', 'none', ...args])).stdout

  test('pulls and runs an image that tsbuild built and pushed', async () => {
    await podman(['pull', '--quiet', '--tls-verify=false', image])
    expect(await podmanRun(image, 'from', 'podman')).toMatch(
      /^Hello, world, from podman\npid 1 on /,
    )
    const [{ Id, Config }] = JSON.parse((await podman(['image', 'inspect', image])).stdout)
    const [ours] = JSON.parse((await store.tsbuild(['inspect', image])).stdout)
    expect(`sha256:${Id}`).toBe(ours.Id)
    expect(Config).toEqual(ours.Config)
  })

  test.each(['oci', 'v2s2'])(
    'pushes an image in format %s, which tsrun pulls and runs',
    async format => {
      const name = `${registry.address}/podman/again-${format}:1`
      await podman(['tag', image, name])
      await podman(['push', '--quiet', '--tls-verify=false', '--format', format, name])
      const other = work.store(`other-${format}`)
      const { stdout } = await other.tsrun(['--rm', '--network', 'none', name, 'from', 'tsrun'])
      expect(stdout).toMatch(/^Hello, world, from tsrun\npid 1 on /)
    },
  )

  test.each([
    ['docker', 'docker-archive'],
    ['oci', 'oci-archive'],
  ])('loads the archive of -o type=%s', async (type, format) => {
    const archive = work.path(`${format}.tar`)
    const name = `localhost/${type}-archive:1`
    await store.tsbuild(['-t', name, '-o', `type=${type},dest=${archive}`, fixture('hello')])
    await podman(['load', '--input', archive])
    expect(await podmanRun(name, 'loaded')).toMatch(/^Hello, world, loaded\n/)
  })

  test.each(['docker-archive', 'oci-archive', 'oci-dir'])(
    'saves a %s that tsbuild loads',
    async format => {
      const saved = work.path(`saved-${format}`)
      await podman(['save', '--quiet', '--format', format, '--output', saved, image])
      expect(existsSync(saved)).toBe(true)
      const other = work.store(`from-${format}`)
      await other.tsbuild(['load', '--input', saved])
      const { stdout } = await other.tsbuild(['images', '--format', '{{.ID}}'])
      const id = stdout.trim()
      expect((await store.tsbuild(['inspect', '-f', '{{.Id}}', image])).stdout).toContain(id)
      const result = await other.tsrun(['--rm', '--network', 'none', id, 'saved'])
      expect(result.stdout).toMatch(/^Hello, world, saved\n/)
    },
  )

  test('builds on an image of ours, and we on its', async () => {
    const context = work.write('podman-build', {
      Dockerfile: `FROM ${image}\nRUN echo podman > /who`,
    })
    const name = `${registry.address}/podman/built:1`
    await podman([
      'build',
      '--quiet',
      '--network',
      'none',
      '--tls-verify=false',
      '-t',
      name,
      context,
    ])
    await podman(['push', '--quiet', '--tls-verify=false', name])
    const ours = work.write('tsbuild-build', {
      Dockerfile: `FROM ${name}\nRUN echo tsbuild >> /who\nENTRYPOINT ["cat", "/who"]\nCMD []`,
    })
    await store.tsbuild(['-t', 'both', ours])
    expect((await store.tsrun(['--rm', '--network', 'none', 'both'])).stdout).toBe(
      'podman\ntsbuild\n',
    )
  })
})
