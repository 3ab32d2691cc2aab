/** What people do with a container that runs: pause, top, stats, port, rename, cp. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

describe.skipIf(missing !== undefined)(`containers${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let box: TsrunStore['box']
  let tsrun: TsrunStore['tsrun']

  beforeAll(() => {
    made = makeTsrunStore()
    ;({ box, tsrun } = made)
    const count = 'i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.02; done'
    expect(tsrun('-d', '--name', 'busy', 'bb', 'sh', '-c', count).status).toBe(0)
  }, 60_000)

  afterAll(() => {
    tsrun('rm', '-f', ...made.ids())
    made[Symbol.dispose]()
  })

  test('end while others look at them, and nobody minds', () => {
    const one =
      'tsrun -d --name r$i bb sleep 1000; tsrun ps; tsrun top r$i; tsrun rm -f r$i; tsrun ps -a'
    const all = `for i in 1 2 3 4 5 6; do { ${one}; } & done; wait`
    const { stdout, stderr } = made.sh(all)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^r6$/m)
  })

  const count = () => Number(tsrun('exec', 'busy', 'cat', '/tmp/n').stdout)
  const upper = (name: string) => {
    const id = tsrun('inspect', '-f', '{{.Id}}', name).stdout.trim()
    return join(box.directory, 'store/containers', id, 'fs')
  }

  describe.skipIf(cgroupHierarchies().v2 === undefined)('that are paused', () => {
    test('stand still until they may go on, and say so', async () => {
      const file = join(upper('busy'), 'tmp/n')
      expect(tsrun('pause', 'busy')).toEqual({ status: 0, stdout: 'busy\n', stderr: '' })
      const [before, , after] = [
        readFileSync(file, 'utf8'),
        await new Promise(resolve => setTimeout(resolve, 100)),
        readFileSync(file, 'utf8'),
      ]
      expect(after).toBe(before)
      expect(tsrun('ps', '--format', '{{.State}} {{.Status}}').stdout).toMatch(
        /^paused .*\(Paused\)/,
      )
      expect(tsrun('inspect', '-f', '{{.State.Paused}}', 'busy').stdout).toBe('true\n')
      expect(tsrun('pause', 'busy')).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/^ERROR: Cannot pause container \w+: it is paused already/),
      })
      expect(tsrun('exec', 'busy', 'true')).toMatchObject({
        status: 125,
        stderr: expect.stringContaining('it is paused\nLet it go on: tsrun unpause'),
      })
      expect(tsrun('unpause', 'busy').status).toBe(0)
      expect(tsrun('unpause', 'busy').stderr).toContain('it is not paused')
      const from = count()
      await expect.poll(count).toBeGreaterThan(from)
    })

    test('hear what ends them', () => {
      tsrun(
        '-d',
        '--name',
        'cold',
        'bb',
        'sh',
        '-c',
        'trap "exit 3" TERM; while :; do sleep 0.01; done',
      )
      tsrun('pause', 'cold')
      expect(tsrun('stop', 'cold').status).toBe(0)
      expect(tsrun('wait', 'cold').stdout).toBe('3\n')
      expect(tsrun('pause', 'cold').stderr).toContain('it is not running')
    })
  })

  test('list their processes, with the options of ps', () => {
    const { stdout } = tsrun('top', 'busy')
    expect(stdout).toMatch(/^UID +PID +PPID .*\n.* sh -c i=0/)
    expect(stdout).not.toContain('vitest')
    expect(tsrun('top', 'busy', '-o', 'pid,comm').stdout).toMatch(
      /^ *PID COMMAND\n( *\d+ (sh|sleep)\n)+$/,
    )
    expect(tsrun('top', 'busy', '-o', 'comm').stderr).toContain('leave out the column PID')
    expect(tsrun('top', 'busy', '--no-such').stderr).toMatch(/^ERROR: Cannot list processes: ps: /)
    expect(tsrun('top', 'nobody').stderr).toContain('Cannot find container "nobody"')
  })

  test('tell what they use', () => {
    const format = '{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.PIDs}}'
    const { stdout } = tsrun('stats', '--no-stream', '--format', format, 'busy')
    expect(stdout).toMatch(
      /^busy\|\d+\.\d\d%\|[1-9][\d.]*[KM]iB \/ [\d.]+GiB\|[\d.]+k?B \/ .*\|[12]\n$/,
    )
    expect(tsrun('stats', '--no-stream').stdout).toMatch(/^CONTAINER ID +NAME +CPU %/)
  })

  test('have another name when they are given one, and nobody else’s', () => {
    tsrun('-d', '--name', 'first', 'bb', 'sleep', '1000')
    expect(tsrun('rename', 'first', 'busy').stderr).toContain('Cannot use container name "busy"')
    expect(tsrun('rename', 'first', '../x').stderr).toContain('Cannot use container name "../x"')
    expect(tsrun('rename', 'first', 'second').status).toBe(0)
    expect(tsrun('ps', '--format', '{{.Names}}').stdout.split('\n')).toContain('second')
    expect(tsrun('rm', '-f', 'second')).toMatchObject({ stdout: 'second\n', stderr: '' })
  })

  test('list their published ports', () => {
    tsrun(
      '-d',
      '--name',
      'web',
      '-p',
      '127.0.0.1:18431:80',
      '-p',
      '127.0.0.1:18431:53/udp',
      'bb',
      'sleep',
      '1000',
    )
    expect(tsrun('port', 'web').stdout).toBe(
      '80/tcp -> 127.0.0.1:18431\n53/udp -> 127.0.0.1:18431\n',
    )
    expect(tsrun('port', 'web', '53/udp').stdout).toBe('127.0.0.1:18431\n')
    expect(tsrun('port', 'web', '81')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Cannot find a published port 81/tcp'),
    })
    expect(tsrun('port', 'web', 'x').status).toBe(125)
  })

  test('are reached on IPv4 and IPv6 alike, where no address is named', async () => {
    const serve = 'while :; do echo hello | busybox nc -l -p 80; done'
    tsrun('-d', '--name', 'both', '-p', '80', 'bb', 'sh', '-c', serve)
    const [ipv4 = '', ipv6 = '', ...more] = tsrun('port', 'both', '80').stdout.trim().split('\n')
    const [, port = ''] = /^0\.0\.0\.0:(\d+)$/.exec(ipv4) ?? []
    expect(ipv6).toBe(existsSync('/proc/net/if_inet6') ? `[::]:${port}` : '')
    expect(more).toEqual([])
    const answer = (address: string) => () => made.sh(`busybox nc -w 2 ${address} ${port}`).stdout
    await expect.poll(answer('127.0.0.1'), { timeout: 10_000 }).toBe('hello\n')
    if (ipv6 !== '') await expect.poll(answer('::1'), { timeout: 10_000 }).toBe('hello\n')
    expect(tsrun('rm', '-f', 'both').status).toBe(0)
    expect(answer('::1')()).toBe('')
  })

  describe('and files', () => {
    const at = (...parts: string[]) => join(box.directory, 'files', ...parts)

    beforeAll(() => {
      mkdirSync(at('tree/sub'), { recursive: true })
      writeFileSync(at('tree/sub/file'), 'content', { mode: 0o640 })
      symlinkSync('/etc/passwd', at('tree/link'))
    })

    test('are copied in, as cp does, while it runs and after', () => {
      const listed = () => tsrun('exec', 'busy', 'ls', '-lnR', '/in').stdout
      expect(tsrun('cp', at('tree'), 'busy:/in')).toEqual({ status: 0, stdout: '', stderr: '' })
      expect(listed()).toMatch(
        /link -> \/etc\/passwd\n.*sub\n\n\/in\/sub:.*\n-rw-r----- +1 0 +0 .* file\n/s,
      )
      tsrun('cp', at('tree'), 'busy:/in')
      expect(listed()).toContain('/in/tree/sub:')
      tsrun('cp', `${at('tree/sub')}/.`, 'busy:/in')
      expect(tsrun('exec', 'busy', 'cat', '/in/file').stdout).toBe('content')
      tsrun('create-nothing')
      expect(tsrun('bb', 'true').status).toBe(0)
      const [id = ''] = tsrun('ps', '-aq', '--no-trunc').stdout.split('\n')
      expect(tsrun('cp', at('tree/sub/file'), `${id}:/etc/`).status).toBe(0)
      expect(readFileSync(join(box.directory, 'store/containers', id, 'fs/etc/file'), 'utf8')).toBe(
        'content',
      )
    })

    test('are copied out; a link stays one, unless it is to be followed', () => {
      expect(tsrun('cp', 'busy:/in/link', at('link')).status).toBe(0)
      expect(readlinkSync(at('link'))).toBe('/etc/passwd')
      expect(tsrun('cp', '-L', 'busy:/in/link', at('passwd')).status).toBe(0)
      expect(readFileSync(at('passwd'), 'utf8')).toBe('root:x:0:0::/root:/bin/sh\n')
      expect(tsrun('cp', 'busy:/in/.', at('out')).status).toBe(0)
      expect(readdirSync(at('out'))).toContain('sub')
    })

    test('lead nowhere outside, whatever links say, and no device comes out (CVE-2018-15664)', () => {
      const script = `ln -s ${box.directory} /up; ln -s ../../../../../.. /root-up
        mkdir /dir; ln -s /etc /dir/out; busybox mknod /dir/disk b 7 7; mkdir -p ${box.directory}`
      expect(tsrun('exec', 'busy', 'sh', '-c', script).stderr).toBe('')
      tsrun('cp', at('tree/sub/file'), 'busy:/up/written')
      expect(existsSync(join(box.directory, 'written'))).toBe(false)
      tsrun('cp', at('tree/sub/file'), 'busy:/root-up/written')
      expect(existsSync('/written')).toBe(false)
      expect(tsrun('exec', 'busy', 'cat', '/written').stdout).toBe('content')
      expect(tsrun('cp', 'busy:/dir', at('dir')).status).toBe(0)
      expect(readdirSync(at('dir'))).toEqual(['out'])
      expect(lstatSync(at('dir/out')).isSymbolicLink()).toBe(true)
      expect(tsrun('cp', 'busy:/dir/disk', at('disk')).stderr).toContain('it is a device')
    })

    test.each([
      [['busy:/nothing', '/tmp/x'], 1, 'Cannot copy "/nothing": not found'],
      [['/etc/passwd', 'busy:/no/dir/x'], 1, 'Cannot copy "/no/dir": not found'],
      [['/etc', 'busy:/etc/passwd'], 1, 'Cannot copy to "/etc/passwd": it is no directory'],
      [['/a', '/b'], 125, 'one place in a container'],
      [['busy:/a', '-'], 125, 'Cannot copy as a tar'],
    ])('that cannot be copied are told: %j', (args, status, words) => {
      expect(tsrun('cp', ...args)).toMatchObject({ status, stderr: expect.stringContaining(words) })
    })
  })
})
