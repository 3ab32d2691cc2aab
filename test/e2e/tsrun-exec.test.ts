/** `tsrun exec`: another command in a container of ours. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import type { Finished } from './process.ts'
import { checkout, openWorkspace, type Store } from './workspace.ts'

describeWith(['root', 'build', 'busybox', 'script'], 'tsrun exec', () => {
  const work = openWorkspace('exec')
  let store: Store
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    const flags = [
      '--network',
      'none',
      '-e',
      'OWN=1',
      '--cap-drop',
      'MKNOD',
      '--ulimit',
      'nofile=100',
    ]
    await store.tsrun(['-d', '--name', 'one', ...flags, 'busybox', 'sleep', '1000'])
  })
  afterAll(async () => {
    await store.tsrun(['rm', '-f', 'one'])
    await work.close()
  })

  const exec = (...args: string[]): Promise<Finished> =>
    store.attempt('tsrun', ['exec', ...args], { stdin: 'typed\n' })

  test('is in all namespaces, cgroups and limits of the container, and ends with its code', async () => {
    const { code, stdout } = await exec(
      ...['one', 'sh', '-c'],
      [
        'for n in pid net ipc uts mnt time cgroup; do readlink /proc/self/ns/$n; done',
        'echo; for n in pid net ipc uts mnt time cgroup; do readlink /proc/1/ns/$n; done; echo',
        'grep -E "^(Cap|Seccomp:|Groups)" /proc/self/status; echo',
        'grep -E "^(Cap|Seccomp:|Groups)" /proc/1/status; echo',
        'cat /proc/self/cgroup; echo; cat /proc/1/cgroup; echo; env; ulimit -n; cat; exit 6',
      ].join('\n'),
    )
    expect(code).toBe(6)
    const [ours, first, rights, firstRights, groups, firstGroups, rest] = stdout.split('\n\n')
    expect(ours).toBe(first)
    expect(rights).toBe(firstRights)
    expect(groups).toBe(firstGroups)
    expect(rest).toContain('OWN=1\n')
    expect(rest).toMatch(/\n100\n$/)
  })

  test('with its own user, directory, environment and input', async () => {
    const flags = ['-i', '-u', 'nobody', '-w', '/tmp', '-e', 'MORE=2']
    const script = 'id -u; id -gn; pwd; echo $OWN$MORE $HOME; cat'
    const { stdout } = await exec(...flags, 'one', 'sh', '-c', script)
    expect(stdout).toBe('65534\nnogroup\n/tmp\n12 /home\ntyped\n')
  })

  test('with all capabilities and their system calls when it is privileged', async () => {
    const mount = ['one', 'mount', '-t', 'tmpfs', 'none', '/tmp'] as const
    expect((await exec(...mount)).code).not.toBe(0)
    expect(await exec('--privileged', ...mount)).toMatchObject({ code: 0, stderr: '' })
  })

  test('has a terminal with -t', () => {
    const words = [join(checkout, 'dist/cli/tsrun.js'), 'exec', '-it', 'one', 'tty'].join(' ')
    const { stdout } = spawnSync('script', ['-qec', words, '/dev/null'], {
      encoding: 'utf8',
      env: { ...work.env, TSBUILD_ROOT: store.root },
    })
    expect(stdout).toContain('/dev/pts/')
  })

  test('tells what is missing: a program, a user, a container', async () => {
    expect(await exec('one', 'no-such-program')).toMatchObject({
      code: 127,
      stderr: expect.stringContaining('executable file not found in $PATH'),
    })
    expect((await exec('-u', 'nobody-there', 'one', 'true')).stderr).toContain('nobody-there')
    expect((await exec('two', 'true')).stderr).toContain('Cannot find container "two"')
  })

  test('ends when who started it is killed, and the container goes on', async () => {
    const words = ['exec', 'one', 'sh', '-c', 'echo up; exec sleep 777']
    const { child, said } = store.start('tsrun', words)
    await said(/up/)
    child.kill('SIGKILL')
    const processes = async () => (await exec('one', 'sh', '-c', 'cat /proc/[0-9]*/cmdline')).stdout
    await expect.poll(processes, { timeout: 10_000 }).not.toContain('sleep\0' + '777')
    expect(await processes()).toContain('sleep\0' + '1000')
  })

  test('hands signals on', async () => {
    const script = 'trap "exit 3" TERM; echo up; while :; do sleep 0.1; done'
    const { child, said, finished } = store.start('tsrun', ['exec', 'one', 'sh', '-c', script])
    await said(/up/)
    child.kill('SIGTERM')
    expect((await finished).code).toBe(3)
  })
})
