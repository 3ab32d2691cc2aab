/** Programs that drive an OCI runtime drive ours: podman by its monitor, containerd by its shim. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { busyboxRootfs } from '../support/busybox.ts'
import { describeWith } from '../support/requires.ts'
import { attempt, type Finished, run, type Started, start } from './process.ts'
import { checkout, openWorkspace } from './workspace.ts'

const runtime = join(checkout, 'dist/cli/tsrun-oci.js')

/** In a terminal of its own; the words must need no quotes. */
const inTerminal = (words: readonly string[]) => ['-qec', words.join(' '), '/dev/null'] as const

describeWith(['root', 'build', 'busybox', 'podman', 'script'], 'podman --runtime tsrun-oci', () => {
  const work = openWorkspace('oci-podman')
  let flags: readonly string[]
  let env: Readonly<Record<string, string | undefined>>
  beforeAll(async () => {
    mkdirSync(work.path('image'))
    const settings = work.write('settings', {
      'containers.conf': '[containers]\ndefault_ulimits = []\n',
    })
    env = { ...work.env, CONTAINERS_CONF: `${settings}/containers.conf` }
    flags = [
      ...['--root', work.path('podman'), '--runroot', work.path('podman-run')],
      ...['--tmpdir', work.path('podman-tmp'), '--storage-driver', 'vfs'],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'none', '--runtime', runtime],
    ]
    await podman('import', '--quiet', busyboxRootfs(work.path('image')), 'bb')
  })
  afterAll(() => work.close())

  const podman = (...args: string[]): Promise<Finished> =>
    run('podman', [...flags, ...args], { env })
  const tryPodman = (...args: string[]): Promise<Finished> =>
    attempt('podman', [...flags, ...args], { env })
  const offline = ['--network', 'none'] as const

  test('runs a container with limits, mounts and a user, and gives its exit code', async () => {
    const { code, stdout } = await tryPodman(
      ...['run', '--rm', ...offline, '--user', '3', '--memory', '64m', '--tmpfs', '/etc'],
      ...['--read-only', '--cap-drop', 'all', '--sysctl', 'net.ipv4.ip_forward=1', 'bb'],
      ...['sh', '-c', 'id -u; cat /proc/sys/net/ipv4/ip_forward; ls /etc/passwd; exit 9'],
    )
    expect({ code, stdout }).toEqual({ code: 9, stdout: '3\n1\n/etc/passwd\n' })
  })

  test('runs one in the background, executes in it, with a terminal too, and stops it', async () => {
    await podman(
      'run',
      '-d',
      // A second try finds what the first one left.
      '--replace',
      '--name',
      'background',
      ...offline,
      'bb',
      'sh',
      '-c',
      'trap "exit 5" TERM; while :; do sleep 0.1; done',
    )
    const { stdout } = await podman(
      'exec',
      '-u',
      '5:6',
      '-w',
      '/tmp',
      'background',
      'sh',
      '-c',
      'id; pwd',
    )
    expect(stdout).toBe('uid=5 gid=6\n/tmp\n')
    const words = ['podman', ...flags, 'exec', '-it', 'background', 'tty']
    expect((await run('script', inTerminal(words), { env })).stdout).toContain('/dev/pts/0')
    await podman('stop', '--time', '20', 'background')
    const state = await podman(
      'inspect',
      '-f',
      '{{.State.Status}} {{.State.ExitCode}}',
      'background',
    )
    expect(state.stdout).toBe('exited 5\n')
    await podman('rm', 'background')
  })

  test('has a terminal of the container’s own with -t', async () => {
    const words = [
      'podman',
      ...flags,
      'run',
      '--rm',
      '-it',
      ...offline,
      'bb',
      'ls',
      '-l',
      '/dev/console',
    ]
    expect((await run('script', inTerminal(words), { env })).stdout).toMatch(
      /crw.*136,.*\/dev\/console/,
    )
  })

  test('gives 127 for a program that is not there', async () => {
    const nothing = await tryPodman('run', '--rm', ...offline, 'bb', 'no-such-program')
    expect(nothing.code).toBe(127)
    expect(nothing.stderr).toContain('executable file not found in $PATH')
  })
})

describeWith(
  ['root', 'build', 'busybox', 'containerd', 'script'],
  'ctr run --runc-binary tsrun-oci',
  () => {
    const work = openWorkspace('oci-containerd')
    let daemon: Started
    let flags: readonly string[]
    beforeAll(async () => {
      const socket = work.path('containerd.sock')
      const settings = work.write('settings', {
        'config.toml': [
          'version = 2',
          `root = "${work.path('root')}"`,
          `state = "${work.path('state')}"`,
          'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
          '[grpc]',
          `address = "${socket}"`,
          '[ttrpc]',
          `address = "${socket}.ttrpc"`,
        ].join('\n'),
      })
      daemon = start('containerd', ['--config', `${settings}/config.toml`], {
        env: work.env,
        timeoutMs: 600_000,
      })
      await daemon.said(/successfully booted/)
      flags = ['--address', socket]
      await run('ctr', [...flags, 'images', 'import', await archive()], { env: work.env })
    })
    afterAll(async () => {
      daemon.child.kill('SIGTERM')
      await daemon.finished
      await work.close()
    })

    /** An image as an archive, which our own builder makes. */
    const archive = async () => {
      const store = await work.storeWithBusybox('store')
      const file = work.path('busybox.tar')
      await store.tsbuild(['save', '-o', file, 'busybox'])
      return file
    }
    const image = 'docker.io/library/busybox:latest'
    const ours = ['--runc-binary', runtime, '--snapshotter', 'native'] as const
    const ctr = (...args: string[]): Promise<Finished> =>
      run('ctr', [...flags, ...args], { env: work.env })

    test('runs a container to its end', async () => {
      expect((await ctr('run', '--rm', ...ours, image, 'one', 'echo', 'hello')).stdout).toBe(
        'hello\n',
      )
    })

    test('keeps one in the background: exec, ps, pause, resume, kill, delete', async () => {
      await ctr('run', '-d', ...ours, image, 'background', 'sleep', '1000')
      expect((await ctr('task', 'exec', '--exec-id', 'e', 'background', 'id', '-u')).stdout).toBe(
        '0\n',
      )
      expect((await ctr('task', 'ps', 'background')).stdout).toMatch(/^\d+ /m)
      await ctr('task', 'pause', 'background')
      expect((await ctr('task', 'ls')).stdout).toContain('PAUSED')
      await ctr('task', 'resume', 'background')
      await ctr('task', 'kill', '-s', 'SIGKILL', 'background')
      await expect.poll(async () => (await ctr('task', 'ls')).stdout).toContain('STOPPED')
      await attempt('ctr', [...flags, 'task', 'rm', 'background'], { env: work.env })
      await ctr('containers', 'rm', 'background')
      expect(readdirSync(work.path('state/io.containerd.runtime.v2.task/default'))).toEqual([])
    })

    test('has a terminal with -t', async () => {
      const words = ['ctr', ...flags, 'run', '--rm', '-t', ...ours, image, 'terminal', 'tty']
      expect((await run('script', inTerminal(words), { env: work.env })).stdout).toContain(
        '/dev/pts/0',
      )
    })
  },
)
