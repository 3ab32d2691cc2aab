/** Health checks of containers: what is probed, when, and what is told of it. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

const unified = cgroupHierarchies().v2

interface Health {
  readonly Status: string
  readonly FailingStreak: number
  readonly Log: readonly {
    readonly Start: string
    readonly End: string
    readonly ExitCode: number
    readonly Output: string
  }[]
}

describe.skipIf(missing !== undefined)(`health checks${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let program: string
  let env: TsrunStore['env']
  let tsrun: TsrunStore['tsrun']

  beforeAll(() => {
    made = makeTsrunStore()
    ;({ program, env, tsrun } = made)
  }, 60_000)

  afterEach(() => {
    const ids = made.ids()
    if (ids.length > 0) expect(tsrun('rm', '-f', ...ids).status).toBe(0)
    for (const id of ids) expect(cgroupsOf(id)).toEqual([])
  })

  afterAll(() => {
    made[Symbol.dispose]()
  })

  /** One that is checked every 50 ms, unless the flags say otherwise. */
  function start(check: string, ...flags: string[]): string {
    const health = ['--health-cmd', check, '--health-interval', '50ms']
    const { stdout, stderr } = tsrun(
      ...['-d', '--network', 'none', ...health, ...flags],
      ...['bb', 'sleep', '1000'],
    )
    expect(stderr).toBe('')
    return stdout.trim()
  }

  const inspect = (id: string, what: string): unknown =>
    JSON.parse(tsrun('inspect', '-f', `{{json .${what}}}`, id).stdout)
  const healthOf = (id: string) => inspect(id, 'State.Health') as Health
  const statusOf = (id: string) => healthOf(id).Status
  const inside = (id: string, script: string) => tsrun('exec', id, 'sh', '-c', script)
  const within = { timeout: 20_000, interval: 50 }

  /** Of this machine. */
  const processesWith = (words: string) =>
    readdirSync('/proc').filter(pid => /^\d+$/.test(pid) && commandOf(pid) === words)

  function commandOf(pid: string): string {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replace(/\0/g, ' ').trim()
    } catch {
      // It has ended.
      return ''
    }
  }

  const cgroupsOf = (id: string) =>
    String(spawnSync('find', ['/sys/fs/cgroup', '-name', `${id}*`, '-type', 'd']).stdout)
      .split('\n')
      .filter(Boolean)

  test('starting, unhealthy after the retries, healthy with the first success', async () => {
    const id = start('echo asked; test -e /tmp/ok', '--health-interval', '300ms')
    const first = healthOf(id)
    expect(first.Status).toBe(first.FailingStreak < 3 ? 'starting' : 'unhealthy')
    expect(first.Log).toHaveLength(Math.min(first.FailingStreak, 5))
    await expect.poll(() => statusOf(id), within).toBe('unhealthy')
    const failed = healthOf(id)
    expect(failed.FailingStreak).toBeGreaterThanOrEqual(3)
    expect(failed.Log.at(-1)).toMatchObject({ ExitCode: 1, Output: 'asked\n' })
    inside(id, 'touch /tmp/ok')
    await expect.poll(() => statusOf(id), within).toBe('healthy')
    expect(healthOf(id)).toMatchObject({ FailingStreak: 0 })
    inside(id, 'rm /tmp/ok')
    await expect.poll(() => statusOf(id), within).toBe('unhealthy')
    const { Log } = healthOf(id)
    expect(Log).toHaveLength(5)
    for (const { Start, End } of Log) {
      expect(Start).toMatch(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/)
      expect(Date.parse(End)).toBeGreaterThanOrEqual(Date.parse(Start))
    }
  })

  test('is shown by ps, and found by its filter', async () => {
    const ok = start('true')
    const waits = start('true', '--health-interval', '1h')
    const bad = start('false', '--health-retries', '1')
    const plain = tsrun('-d', '--network', 'none', 'bb', 'sleep', '1000').stdout.trim()
    await expect.poll(() => statusOf(ok), within).toBe('healthy')
    await expect.poll(() => statusOf(bad), within).toBe('unhealthy')
    const rows = tsrun('ps', '--no-trunc', '--format', '{{.ID}} {{.Status}}').stdout
    expect(rows).toMatch(new RegExp(`^${ok} Up .* \\(healthy\\)$`, 'm'))
    expect(rows).toMatch(new RegExp(`^${waits} Up .* \\(health: starting\\)$`, 'm'))
    expect(rows).toMatch(new RegExp(`^${bad} Up .* \\(unhealthy\\)$`, 'm'))
    expect(rows).toMatch(new RegExp(`^${plain} Up [^(]*$`, 'm'))
    expect(tsrun('inspect', '-f', '{{json .State}}', plain).stdout).not.toContain('Health')
    const found = (value: string) =>
      tsrun('ps', '-q', '--no-trunc', '--filter', `health=${value}`).stdout.trim()
    expect(found('healthy')).toBe(ok)
    expect(found('starting')).toBe(waits)
    expect(found('unhealthy')).toBe(bad)
    expect(found('none')).toBe(plain)
    expect(tsrun('ps', '--filter', 'health=ill')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('expected starting, healthy, unhealthy, none'),
    })
  })

  test('no failure counts within the start period, and a success ends it', async () => {
    const id = start(
      'test -e /tmp/ok',
      ...['--health-interval', '1h', '--health-start-interval', '50ms'],
      ...['--health-start-period', '1h', '--health-retries', '1'],
    )
    await expect.poll(() => healthOf(id).Log.length, within).toBe(5)
    expect(healthOf(id)).toMatchObject({ Status: 'starting', FailingStreak: 0 })
    inside(id, 'touch /tmp/ok')
    await expect.poll(() => statusOf(id), within).toBe('healthy')
    tsrun('rm', '-f', id)

    const later = start('test -e /tmp/ok', '--health-start-period', '1h', '--health-retries', '1')
    inside(later, 'touch /tmp/ok')
    await expect.poll(() => statusOf(later), { timeout: 20_000 }).toBe('healthy')
    inside(later, 'rm /tmp/ok')
    await expect.poll(() => statusOf(later), within).toBe('unhealthy')
  })

  test('a probe is what exec runs: namespaces, rights, user, environment, directory', async () => {
    const script = [
      'for n in pid net ipc uts mnt time cgroup; do readlink /proc/self/ns/$n; done',
      'grep -E "^(Cap|Seccomp:|NoNewPrivs|Uid|Gid|Groups)" /proc/self/status',
      'env; pwd; ulimit -n; ls /proc/self/fd | head -3',
    ].join('; ')
    const id = start(
      script,
      ...['-u', '1000:1001', '--group-add', '7', '-e', 'OWN=1', '-w', '/tmp'],
      ...['--cap-drop', 'MKNOD', '--ulimit', 'nofile=100', '--security-opt', 'no-new-privileges'],
    )
    await expect.poll(() => statusOf(id), within).toBe('healthy')
    expect(healthOf(id).Log.at(-1)?.Output).toBe(inside(id, script).stdout)
  })

  test.each([
    ['the processes of this machine', ['--pid', 'host']],
    ['the network of this machine', ['--network', 'host']],
    ['an init', ['--init']],
    [
      'a root that is read-only, and limits',
      ['--read-only', '--memory', '32m', '--pids-limit', '9'],
    ],
    ['all rights', ['--privileged']],
  ])('with %s', async (_, flags) => {
    const id = start('echo $$; kill -0 1', ...flags)
    await expect.poll(() => statusOf(id), within).toBe('healthy')
  })

  test('in the namespaces of another container, where nobody sees who probes', async () => {
    const other = start('true', '--name', 'other')
    for (const flag of ['--network', '--pid', '--ipc']) {
      const id = start('echo /proc/[0-9]*', flag, 'container:other')
      await expect.poll(() => statusOf(id), within).toBe('healthy')
      const seen = healthOf(id).Log.at(-1)?.Output.trim().split(' ') ?? []
      // The first processes, a probe of either, and nothing of ours.
      expect(seen.length).toBeLessThanOrEqual(flag === '--pid' ? 4 : 2)
    }
    expect(statusOf(other)).toBe('healthy')
  })

  test('one that takes too long ends with all that it started', async () => {
    const id = start(
      'echo begun; setsid sleep 7301 & sleep 7301',
      ...['--health-timeout', '1s', '--health-retries', '2'],
    )
    await expect.poll(() => statusOf(id), within).toBe('unhealthy')
    expect(healthOf(id).Log.at(-1)).toMatchObject({
      ExitCode: -1,
      Output: 'Health check exceeded timeout (1s): begun\n',
    })
    // One probe's at most, where cgroups end them.
    if (unified !== undefined) expect(processesWith('sleep 7301').length).toBeLessThanOrEqual(2)
    tsrun('stop', '-t', '0', id)
    expect(processesWith('sleep 7301')).toEqual([])
  })

  test.skipIf(unified === undefined)(
    'what a probe mends lives on, also when a later one is late',
    async () => {
      const id = start(
        'test -e /tmp/late && sleep 7302; test -e /tmp/mended && exit; touch /tmp/mended; setsid sleep 7303 &',
        ...['--health-timeout', '2s', '--health-retries', '1'],
      )
      await expect.poll(() => statusOf(id), within).toBe('healthy')
      expect(processesWith('sleep 7303')).toHaveLength(1)
      inside(id, 'touch /tmp/late')
      await expect.poll(() => statusOf(id), within).toBe('unhealthy')
      expect(processesWith('sleep 7303')).toHaveLength(1)
      tsrun('stop', '-t', '0', id)
      expect(processesWith('sleep 7303')).toEqual([])
    },
  )

  test('one that cannot start says why', async () => {
    const broken = start('true', '--health-retries', '1')
    inside(broken, 'rm /bin/sh')
    await expect.poll(() => statusOf(broken), within).toBe('unhealthy')
    expect(healthOf(broken).Log.at(-1)).toMatchObject({
      ExitCode: -1,
      Output: expect.stringContaining('Cannot run "/bin/sh"'),
    })
  })

  test('of what it writes the beginning is kept, and no control character', async () => {
    const endless = start('while :; do echo 0123456789abcde; done | head -c 1000000')
    await expect.poll(() => statusOf(endless), within).toBe('healthy')
    expect(healthOf(endless).Log.at(-1)?.Output).toBe(`${'0123456789abcde\n'.repeat(256)}...`)
    const hostile = start("printf 'a\\tb\\033[2J\\377\\000\\n1 1 0 3\\n'")
    await expect.poll(() => statusOf(hostile), within).toBe('healthy')
    expect(healthOf(hostile).Log.at(-1)?.Output).toBe('a\tb\\u001b[2J\ufffd\\u0000\n1 1 0 3\n')
  })

  test.skipIf(unified === undefined)(
    'a container that is paused is not probed, and is not healthy',
    async () => {
      const id = start('true', '--health-timeout', '1s')
      await expect.poll(() => statusOf(id), within).toBe('healthy')
      expect(tsrun('pause', id).status).toBe(0)
      expect(statusOf(id)).toBe('unhealthy')
      expect(tsrun('ps', '--format', '{{.Status}}').stdout).toMatch(/\(Paused\)\n$/)
      // One that was under way when it froze counts for nothing.
      await new Promise(resolve => setTimeout(resolve, 1500))
      const before = healthOf(id).Log.at(-1)?.Start
      await new Promise(resolve => setTimeout(resolve, 300))
      expect(healthOf(id).Log.at(-1)?.Start).toBe(before)
      expect(healthOf(id)).toMatchObject({ FailingStreak: 0 })
      expect(tsrun('unpause', id).status).toBe(0)
      expect(statusOf(id)).toBe('healthy')
      await expect.poll(() => healthOf(id).Log.at(-1)?.Start, within).not.toBe(before)
    },
  )

  test('one that has ended is not healthy, and begins anew when it is started again', async () => {
    const id = start('test -e /tmp/ok', '--health-retries', '1000')
    inside(id, 'touch /tmp/ok')
    await expect.poll(() => statusOf(id), within).toBe('healthy')
    tsrun('stop', '-t', '0', id)
    expect(healthOf(id)).toMatchObject({ Status: 'unhealthy', FailingStreak: 0 })
    expect(healthOf(id).Log).not.toEqual([])
    expect(tsrun('ps', '-a', '--format', '{{.Status}}').stdout).toMatch(/^Exited \(137\)/)
    expect(tsrun('start', id).status).toBe(0)
    await expect.poll(() => statusOf(id), within).toBe('healthy')
    inside(id, 'rm /tmp/ok')
    await expect.poll(() => healthOf(id).FailingStreak, within).toBeGreaterThan(0)
    expect(tsrun('restart', '-t', '0', id).status).toBe(0)
    expect(statusOf(id)).toBe('starting')
  })

  test('a container that was only created is nothing yet', async () => {
    const flags = ['--health-cmd', 'true', '--health-interval', '50ms', '--network', 'none']
    const id = tsrun('create', ...flags, 'bb', 'sleep', '1000').stdout.trim()
    expect(inspect(id, 'State')).not.toHaveProperty('Health')
    tsrun('start', id)
    await expect.poll(() => statusOf(id), within).toBe('healthy')
  })

  test('a container in the foreground is checked as well', async () => {
    const flags = ['--name', 'front', '--network', 'none', '--health-cmd', 'true']
    const child = spawn(
      '/bin/sh',
      [program, 'run', ...flags, '--health-interval', '50ms', 'bb', 'sleep', '1000'],
      { env, stdio: 'ignore' },
    )
    const ended = once(child, 'exit')
    const shown = () => tsrun('ps', '--format', '{{.Names}} {{.Status}}').stdout
    await expect.poll(shown, within).toMatch(/^front Up .* \(healthy\)\n$/)
    tsrun('stop', '-t', '0', 'front')
    await ended
    expect(statusOf('front')).toBe('unhealthy')
  })

  /** The probe's monitor, beside the container's. */
  function proberOf(monitor: number): number | undefined {
    const found = readdirSync('/proc').find(
      pid => /^\d+$/.test(pid) && parentOf(pid) === monitor && commandOf(pid) === 'sandbox sealed',
    )
    return found === undefined ? undefined : Number(found)
  }

  function parentOf(pid: string): number {
    try {
      return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    } catch {
      // It has ended.
      return 0
    }
  }

  const monitorOf = (id: string) => parentOf(String(inspect(id, 'State.Pid')))

  test('killed, a probe has failed, and the next one comes', async () => {
    const id = start(
      'test -e /tmp/ok || sleep 7304',
      ...['--health-retries', '1000', '--health-timeout', '10s'],
    )
    await expect.poll(() => processesWith('sleep 7304').length, within).toBe(1)
    const prober = proberOf(monitorOf(id)) ?? 0
    // A copy that nobody can write, as of exec.
    expect(readlinkSync(`/proc/${prober}/exe`)).toContain('/memfd:sandbox')
    process.kill(prober, 'SIGKILL')
    await expect.poll(() => healthOf(id).FailingStreak, within).toBe(1)
    expect(healthOf(id).Log).toEqual([
      expect.objectContaining({ ExitCode: -1, Output: expect.stringContaining('was killed') }),
    ])
    inside(id, 'touch /tmp/ok')
    await expect.poll(() => statusOf(id), within).toBe('healthy')
  })

  test('killed, the monitor leaves no container, no probe, and nothing healthy', async () => {
    const id = start('test -e /tmp/slow && sleep 7305; true')
    await expect.poll(() => statusOf(id), within).toBe('healthy')
    inside(id, 'touch /tmp/slow')
    await expect.poll(() => processesWith('sleep 7305').length, within).toBe(1)
    const first = Number(inspect(id, 'State.Pid'))
    process.kill(monitorOf(id), 'SIGKILL')
    await expect.poll(() => processesWith('sleep 7305'), within).toEqual([])
    await expect.poll(() => existsSync(`/proc/${first}/root/tmp`), within).toBe(false)
    expect(tsrun('ps', '-a', '--format', '{{.Status}}').stdout).toBe('Exited (killed)\n')
    expect(statusOf(id)).toBe('unhealthy')
    // The next run removes the cgroups that it could not.
    expect(tsrun('--rm', '--network', 'none', 'bb', 'true').status).toBe(0)
  })

  test('the monitor keeps nothing open of the probes before', async () => {
    const id = start('true')
    await expect.poll(() => healthOf(id).Log.length, within).toBe(5)
    const monitor = monitorOf(id)
    const open = () => readdirSync(`/proc/${monitor}/fd`).length
    const before = Math.min(...(await samples(open)))
    const started = healthOf(id).Log.at(-1)?.Start
    await expect.poll(() => healthOf(id).Log[0]?.Start ?? '', within).not.toBe(started)
    expect(Math.min(...(await samples(open)))).toBe(before)
  })

  async function samples(take: () => number): Promise<number[]> {
    const taken: number[] = []
    for (let i = 0; i < 40; i++) {
      taken.push(take())
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    return taken
  }

  test.each([
    [['--health-retries', '2'], 'the image names no command'],
    [['--isolation', 'oci', '--health-cmd', 'true'], 'with a health check'],
  ])('%j is refused', (flags, words) => {
    const { status, stderr } = tsrun('--rm', '--network', 'none', ...flags, 'bb', 'true')
    expect(stderr).toContain(words)
    expect(status).not.toBe(0)
    expect(tsrun('ps', '-aq').stdout).toBe('')
  })
})
