/** `tsrun` as a user types it, with an image that tsbuild built. */
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeWith, missing } from '../support/requires.ts'
import { containerAddress } from './container-address.ts'
import { run } from './process.ts'
import { openWorkspace, type Store } from './workspace.ts'

const dockerfile = `
FROM busybox
RUN echo 'app:x:1234:5678:App:/home/app:/bin/sh' >> /etc/passwd \\
 && echo 'app:x:5678:' >> /etc/group && echo 'extra:x:999:app' >> /etc/group \\
 && mkdir -p /srv/app && printf 'no program' > /bin/broken && chmod 755 /bin/broken \\
 && printf '#!/no/such/interpreter\\n' > /bin/orphan && chmod 755 /bin/orphan
ENV FROM_IMAGE=yes
WORKDIR /srv/app
CMD ["sh", "-c", "echo the command of the image"]
`

describeWith(['root', 'build', 'busybox'], 'tsrun', () => {
  const work = openWorkspace('tsrun')
  let store: Store
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    await store.tsbuild(['-q', '-t', 'app', work.write('context', { Dockerfile: dockerfile })])
  })
  afterAll(() => work.close())

  const attempt = (...args: string[]) => store.attempt('tsrun', args)
  const output = async (...args: string[]) => (await store.tsrun(['--rm', ...args])).stdout
  const sh = (script: string, ...flags: string[]) =>
    attempt('--rm', ...flags, 'app', 'sh', '-c', script)
  const start = (script: string, ...flags: string[]) =>
    store.start('tsrun', [...flags, 'app', 'sh', '-c', script])

  describe('exit codes', () => {
    const cases: readonly [title: string, args: readonly string[], code: number, said?: string][] =
      [
        ['a command', ['sh', '-c', 'exit 7'], 7],
        ['a command killed by SIGTERM', ['sh', '-c', 'sh -c "kill -TERM \\$\\$"; exit $?'], 143],
        ['a directory', ['/etc'], 126, 'Cannot run "/etc"'],
        ['a file that is no program', ['broken'], 126, 'exec format error'],
        ['a script without interpreter', ['orphan'], 126, 'interpreter'],
        ['an unknown command', ['nothing'], 127, 'executable file not found in $PATH'],
        ['an unknown path', ['/bin/nothing'], 127, 'no such file or directory'],
      ]
    test.each(cases)('of %s', async (...[, args, expected, said = '']) => {
      const { code, stderr } = await attempt('--rm', 'app', ...args)
      expect({ code, stderr }).toEqual({ code: expected, stderr: expect.stringContaining(said) })
      expect(stderr).not.toMatch(/^ {4}at /m)
    })

    test.each([
      [['--pull', 'never', 'nothing'], 'Cannot find image "nothing"'],
      [['--bogus', 'app'], 'Unknown flag "--bogus"'],
      [['--restart', 'always', 'app'], 'Flag --restart is not supported yet'],
      [['-u', 'nobody-here', 'app'], 'nobody-here'],
      [['-v', 'no/name:/data', 'app'], 'no/name'],
      [['-it', 'app'], 'The input device is not a TTY'],
    ])('125 when the container cannot be made: %j', async (args, said) => {
      const { code, stderr } = await attempt('--rm', ...args)
      expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining(said) })
    })

    test('nothing is left of containers that could not start', async () => {
      expect((await store.tsrun(['ps', '-aq'])).stdout).toBe('')
    })
  })

  describe('signals', () => {
    test('SIGTERM reaches the command, whose exit code it is', async () => {
      const container = start('trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done', '--rm')
      await container.said(/ready/)
      container.child.kill('SIGTERM')
      expect(await container.finished).toMatchObject({ code: 9 })
    })

    test('SIGHUP and SIGUSR1 reach it too, and do not end it', async () => {
      const script =
        'trap "echo hup" HUP; trap "echo usr1; exit 0" USR1; echo ready; while :; do sleep 0.1; done'
      const container = start(script, '--rm')
      await container.said(/ready/)
      container.child.kill('SIGHUP')
      await container.said(/hup/)
      container.child.kill('SIGUSR1')
      expect(await container.finished).toMatchObject({ code: 0, stdout: 'ready\nhup\nusr1\n' })
    })

    test('the third SIGTERM kills a command that takes none: 128 + 9', async () => {
      const container = start('trap "" TERM; echo ready; while :; do sleep 0.1; done', '--rm')
      await container.said(/ready/)
      for (let count = 0; count < 3; count++) {
        container.child.kill('SIGTERM')
        await new Promise(resolve => setTimeout(resolve, 200))
      }
      const { code, stderr } = await container.finished
      expect(code).toBe(137)
      expect(stderr).toContain('Still running; once more kills the container')
    })

    test('kill -9 of tsrun ends the container; ps says so and rm removes it', async () => {
      const container = start('echo ready; sleep 600', '--name', 'orphan')
      await container.said(/ready/)
      container.child.kill('SIGKILL')
      expect(await container.finished).toMatchObject({ code: 137 })
      const { stdout } = await store.tsrun(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])
      expect(stdout).toMatch(/^orphan Exited \(137\) .*\n$/)
      await store.tsrun(['rm', 'orphan'])
      expect((await store.tsrun(['ps', '-aq'])).stdout).toBe('')
    })
  })

  describe('what the command sees', () => {
    test('the image’s command, or ours, or another entrypoint', async () => {
      expect(await output('app')).toBe('the command of the image\n')
      expect(await output('app', 'echo', '-n', '--rm')).toBe('--rm')
      expect(await output('--entrypoint', 'echo', 'app', 'a', 'b')).toBe('a b\n')
      expect(await output('--entrypoint', 'pwd', 'app')).toBe('/srv/app\n')
    })

    test('-e sets, overrides and passes on variables', async () => {
      const { stdout } = await store.tsrun(
        [
          '--rm',
          '-e',
          'A=1=2',
          '-e',
          'FROM_IMAGE=no',
          '-e',
          'PASSED',
          '-e',
          'ABSENT',
          'app',
          'env',
        ],
        { env: { PASSED: 'on' } },
      )
      const lines = stdout.trim().split('\n')
      expect(lines).toEqual(
        expect.arrayContaining(['A=1=2', 'FROM_IMAGE=no', 'PASSED=on', 'HOME=/root']),
      )
      expect(
        lines.filter(line => /^(ABSENT|TSBUILD_ROOT|TMPDIR|FROM_IMAGE=yes)/.test(line)),
      ).toEqual([])
    })

    test.each([
      ['app', 'uid=1234(app) gid=5678(app) groups=999(extra),5678(app) /home/app'],
      ['app:extra', 'uid=1234(app) gid=999(extra) groups=999(extra) /home/app'],
      ['1234', 'uid=1234(app) gid=5678(app) groups=999(extra),5678(app) /home/app'],
      ['4321', 'uid=4321 gid=0(root) groups=0(root) /'],
      ['4321:8765', 'uid=4321 gid=8765 groups=8765 /'],
    ])('-u %s', async (user, expected) => {
      expect(await output('-u', user, 'app', 'sh', '-c', 'echo $(id) $HOME')).toBe(`${expected}\n`)
    })

    test('-w is made where it is missing; a name and a host name are its own', async () => {
      expect(await output('-w', '/new/directory', 'app', 'pwd')).toBe('/new/directory\n')
      expect(await output('--hostname', 'box.example', 'app', 'hostname')).toBe('box.example\n')
    })

    test('-v shows a directory, writable or not', async () => {
      const shared = work.path('shared')
      mkdirSync(shared)
      await output(
        '-v',
        `${shared}:/data`,
        '-u',
        '0',
        'app',
        'sh',
        '-c',
        'echo written > /data/file',
      )
      expect(readFileSync(join(shared, 'file'), 'utf8')).toBe('written\n')
      const refused = await sh(
        'cat /data/file; echo again > /data/file',
        '-v',
        `${shared}:/data:ro`,
      )
      expect(refused).toMatchObject({
        code: 1,
        stdout: 'written\n',
        stderr: expect.stringContaining('Read-only file system'),
      })
      expect(readFileSync(join(shared, 'file'), 'utf8')).toBe('written\n')
    })

    test('-i hands standard input on; without it there is none', async () => {
      const stdin = 'one\ntwo\n'
      const piped = await store.tsrun(['--rm', '-i', 'app', 'wc', '-l'], { stdin })
      expect(piped.stdout).toBe('2\n')
      const none = await store.tsrun(['--rm', 'app', 'wc', '-l'], { stdin })
      expect(none.stdout).toBe('0\n')
      const large = 'x'.repeat(3_000_000)
      const echoed = await store.tsrun(['--rm', '-i', 'app', 'cat'], { stdin: large })
      expect(echoed.stdout.length).toBe(large.length)
    })

    test('--read-only and --tmpfs', async () => {
      const { code, stdout, stderr } = await sh(
        'echo x > /scratch/file && cat /scratch/file; echo x > /file',
        ...['--read-only', '--tmpfs', '/scratch:size=1m'],
      )
      expect({ code, stdout }).toEqual({ code: 1, stdout: 'x\n' })
      expect(stderr).toContain('Read-only file system')
    })
  })

  test.skipIf(missing(['script']) !== undefined)(
    '-t under a terminal: a terminal of its size',
    async () => {
      const program = join(import.meta.dirname, '../../dist/cli/tsrun.js')
      const script = `stty rows 33 cols 99; '${program}' --rm -it app sh -c 'tty; stty size; test -t 0 && test -t 1 && echo terminal'`
      const { stdout } = await run('script', ['-qec', script, '/dev/null'], {
        env: { ...work.env, TSBUILD_ROOT: store.root, TERM: 'xterm' },
        stdin: '',
      })
      // The end of script's own input is typed into the terminal, whenever it is noticed.
      const shown = stdout.replace(/\r|\^D|[\b]/g, '')
      expect(shown).toContain('/dev/pts/0\n33 99\nterminal\n')
    },
  )

  describe('limits', () => {
    test('--memory: what takes more is killed, and it says so', async () => {
      const { code, stderr } = await sh('tail /dev/zero', '--memory', '32m')
      expect(code).toBe(137)
      expect(stderr).toContain('The container reached its memory limit and was killed')
    })

    test('--pids-limit: no process more', async () => {
      const script = 'for i in $(seq 20); do sleep 5 & done; echo all of them'
      const { code, stderr } = await sh(script, '--pids-limit', '10')
      expect(code).not.toBe(0)
      expect(stderr).toMatch(/can't fork/)
      expect(
        (await sh('for i in $(seq 20); do sleep 0 & done; wait', '--pids-limit', '30')).code,
      ).toBe(0)
    })
  })

  describe('networks', () => {
    test('none has a loopback device alone', async () => {
      expect(await output('--network', 'none', 'app', 'ls', '/sys/class/net')).toBe('lo\n')
    })

    test('host reaches what listens on this machine', async () => {
      const registry = await work.serve()
      const url = `http://${registry.address}/v2/`
      expect(await output('--network', 'host', 'app', 'wget', '-qO-', url)).toBe('{}')
      const { code } = await sh(`wget -qO- ${url}`, '--network', 'bridge')
      expect(code).not.toBe(0)
    })

    test('bridge reaches another container and its gateway, and this machine reaches it', async () => {
      const server = start('echo from the server > index.html; exec httpd -f -p 8080', '--rm')
      const address = await containerAddress(server)
      const url = `http://${address}:8080/index.html`
      const fetchUrl = `until wget -qO- ${url}; do sleep 0.1; done`
      expect((await sh(fetchUrl, '--network', 'bridge')).stdout).toBe('from the server\n')
      expect(await (await fetch(url)).text()).toBe('from the server\n')
      const gateway = "ping -c 1 -w 2 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')"
      expect((await sh(gateway)).stdout).toContain('1 packets received')
      server.child.kill('SIGKILL')
      await server.finished
    })
  })

  test('containers stay without --rm: ps -a lists them, rm removes them', async () => {
    await attempt('--name', 'first', 'app', 'sh', '-c', 'exit 3')
    await attempt('--name', 'second', 'app', 'true')
    const running = start('echo ready; while :; do sleep 0.1; done', '--name', 'third')
    await running.said(/ready/)
    const format = ['--format', '{{.Names}} {{.Image}} {{.Status}}']
    const listed = await store.tsrun(['ps', '-a', ...format])
    expect(listed.stdout.trim().split('\n').sort()).toEqual([
      expect.stringMatching(/^first app Exited \(3\) /),
      expect.stringMatching(/^second app Exited \(0\) /),
      expect.stringMatching(/^third app Up /),
    ])
    expect((await store.tsrun(['ps', ...format])).stdout).toMatch(/^third app Up .*\n$/)

    expect(await attempt('--name', 'first', 'app', 'true')).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('Cannot use container name "first"'),
    })
    expect(await attempt('rm', 'third')).toMatchObject({ code: 1 })
    expect((await store.tsrun(['rm', 'first', 'second'])).stdout).toBe('first\nsecond\n')
    running.child.kill('SIGKILL')
    await running.finished
    await store.tsrun(['rm', 'third'])
    expect((await store.tsrun(['ps', '-aq'])).stdout).toBe('')
    expect(statSync(join(store.root, 'containers')).isDirectory()).toBe(true)
  })

  test('eight at once do not disturb each other', async () => {
    const codes = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => (await sh(`exit ${index}`)).code),
    )
    expect(codes).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect((await store.tsrun(['ps', '-aq'])).stdout).toBe('')
  })
})
