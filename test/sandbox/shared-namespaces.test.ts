/** Containers in the namespaces of another, or of the machine. */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

describe.skipIf(missing !== undefined)(`a container${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let program: string
  let env: TsrunStore['env']
  let tsrun: TsrunStore['tsrun']

  beforeAll(() => {
    made = makeTsrunStore()
    ;({ program, env, tsrun } = made)
    const serve = 'echo shared > /dev/shm/word; while :; do echo served | busybox nc -l -p 80; done'
    expect(tsrun('-d', '--name', 'host', 'bb', 'sh', '-c', serve).status).toBe(0)
  }, 60_000)

  afterAll(() => {
    tsrun('rm', '-f', ...made.ids())
    made[Symbol.dispose]()
  })

  const inside = (script: string, ...flags: string[]) =>
    tsrun('--rm', ...flags, 'bb', 'sh', '-c', script)

  test('in the network of another has its addresses, ports and name', () => {
    const { stdout } = inside(
      'busybox nc 127.0.0.1 80 < /dev/null; hostname; grep -c "$(hostname)" /etc/hosts; busybox ps -o comm | grep -c nc',
      '--network',
      'container:host',
    )
    const id = tsrun('inspect', '-f', '{{.Id}}', 'host').stdout.slice(0, 12)
    expect(stdout).toBe(`served\n${id}\n1\n0\n`)
    expect(inside('true', '--network', 'container:host', '-p', '80').stderr).toContain(
      'Cannot publish ports with --network container:NAME',
    )
    expect(inside('true', '--network', 'container:host', '-h', 'x').stderr).toContain(
      'it has its name',
    )
  })

  test('shares memory with another, and nothing else', () => {
    const script = 'cat /dev/shm/word; echo back > /dev/shm/answer; ls /proc | grep -c "^[0-9]"'
    expect(inside(script, '--ipc', 'container:host').stdout).toBe('shared\n3\n')
    expect(tsrun('exec', 'host', 'cat', '/dev/shm/answer').stdout).toBe('back\n')
  })

  test('does not take what another has put in the place of its memory', () => {
    tsrun('-d', '--name', 'liar', '--privileged', 'bb', 'sh', '-c', 'sleep 1000')
    const swap = 'busybox umount /dev/shm; busybox rmdir /dev/shm; ln -s / /dev/shm'
    expect(tsrun('exec', '--privileged', 'liar', 'sh', '-c', swap)).toMatchObject({ stderr: '' })
    expect(inside('ls /dev/shm', '--ipc', 'container:liar')).toMatchObject({
      status: 125,
      stdout: '',
      stderr: expect.stringContaining('share memory with'),
    })
  })

  describe.skipIf(cgroupHierarchies().v2 === undefined)('that shares processes', () => {
    test('of another sees them, and ends with its own alone', () => {
      const { stdout } = inside(
        'busybox ps -o pid,args; (trap "" TERM HUP; sleep 4711) & true',
        '--pid',
        'container:host',
      )
      expect(stdout).toMatch(/^ +1 sh -c echo shared/m)
      expect(tsrun('top', 'host').stdout).not.toContain('sleep 4711')
      expect(tsrun('ps', '--format', '{{.Names}}').stdout).toContain('host')
    })

    test('of the machine sees those, and leaves none of its own', () => {
      const mark = `8${process.pid}`
      const script = `cat /proc/${process.pid}/comm; (setsid sleep ${mark} &); echo $?`
      const comm = readFileSync(`/proc/${process.pid}/comm`, 'utf8')
      expect(inside(script, '--pid', 'host').stdout).toBe(`${comm}0\n`)
      expect(spawnSync('pgrep', ['-f', `sleep ${mark}`]).status).toBe(1)
    })

    test('ends with its caller, whatever it started', async () => {
      const mark = `9${process.pid}`
      const script = `setsid sleep ${mark} & echo up; sleep ${mark}`
      const child = spawn('sh', [program, '--rm', '--pid', 'host', 'bb', 'sh', '-c', script], {
        env: env,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await new Promise(resolve => child.stdout.once('data', resolve))
      child.kill('SIGKILL')
      const left = () => spawnSync('pgrep', ['-f', `sleep ${mark}`]).status
      await expect.poll(left, { timeout: 10_000 }).toBe(1)
    })

    test('does not show it our program (CVE-2019-5736)', () => {
      // From a sealed copy: what other processes of the namespace could open is no file of ours.
      const watch = `for i in $(busybox seq 1 3000); do
          for p in /proc/[0-9]*; do readlink $p/exe; done; done 2>/dev/null | busybox sort -u`
      const args = [program, 'exec', '--privileged', 'host', 'sh', '-c', watch]
      const watching = spawn('sh', args, { env: env, stdio: ['ignore', 'pipe', 'ignore'] })
      const seen: Buffer[] = []
      watching.stdout.on('data', chunk => seen.push(chunk))
      for (let run = 0; run < 3; run++) inside('true', '--pid', 'container:host')
      watching.kill('SIGTERM')
      expect(Buffer.concat(seen).toString()).not.toContain('build/native')
    })
  })

  test.each([
    ['--network', 'container:nobody', 'Cannot find container "nobody"'],
    ['--pid', 'container:', 'expected host, private or container:NAME'],
    ['--ipc', 'mine', 'expected host, private, shareable or container:NAME'],
    ['--network', 'mynet', 'Networks of one’s own are not supported yet'],
    ['--userns', 'keep-id', 'keep-id'],
  ])('cannot have %s %s', (flag, value, words) => {
    expect(inside('true', flag, value)).toMatchObject({
      status: 125,
      stderr: expect.stringContaining(words),
    })
  })

  test('cannot join one that has ended, nor set its kernel parameters', () => {
    tsrun('--name', 'gone', 'bb', 'true')
    expect(inside('true', '--network', 'container:gone').stderr).toMatch(
      /Cannot share the network of container \w+: it is not running/,
    )
    const sysctl = ['--sysctl', 'net.ipv4.ip_forward=1']
    expect(inside('true', '--network', 'container:host', ...sysctl).stderr).toContain('another’s')
  })
})
