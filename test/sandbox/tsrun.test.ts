/** `tsrun` as a user runs it, with an image that it imported. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

const image = 'bb'

describe.skipIf(missing !== undefined)(`tsrun${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let box: TsrunStore['box']
  let program: string
  let env: TsrunStore['env']
  let store: string
  let tsrun: TsrunStore['tsrun']
  let ids: TsrunStore['ids']

  beforeAll(() => {
    made = makeTsrunStore(layer => {
      layer.write(
        'etc/passwd',
        'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n',
        0o644,
      )
      layer.write('etc/group', 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n', 0o644)
      layer.write('bin/broken', 'no program\0', 0o755)
    })
    ;({ box, store, program, env, tsrun, ids } = made)
  }, 60_000)

  afterAll(() => made[Symbol.dispose]())

  /** A container that says `ready` and goes on. */
  async function start(script: string, ...flags: string[]): Promise<ChildProcess> {
    const args = [program, ...flags, image, 'sh', '-c', `${script}; while :; do sleep 0.1; done`]
    const child = spawn('/bin/sh', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    return child
  }

  test.each([
    [['true'], 0, ''],
    [['sh', '-c', 'exit 7'], 7, ''],
    [['sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?'], 137, ''],
    [['sh', '-c', 'sh -c "kill -15 \\$\\$"; exit $?'], 143, ''],
    [
      ['nothing-here'],
      127,
      'ERROR: Cannot run "nothing-here": executable file not found in $PATH\n',
    ],
    [['/etc/passwd'], 126, 'ERROR: Cannot run "/etc/passwd": permission denied (EACCES)\n'],
    [['broken'], 126, expect.stringContaining('Cannot run "')],
    [[], 125, 'ERROR: Cannot run the image: it names no command\nGive one after the image name\n'],
  ])('--rm %j ends with %i', (command, status, stderr) => {
    expect(tsrun('--rm', image, ...command)).toEqual({
      status,
      stdout: '',
      stderr: stderr === '' ? expect.not.stringContaining('ERROR') : stderr,
    })
    expect(ids()).toEqual([])
  })

  test('passes flags after the image on to the command', () => {
    expect(tsrun('--rm', image, 'echo', '--rm', '-x', '--', 'y').stdout).toBe('--rm -x -- y\n')
  })

  test('gives the command its user, groups, home and directory', () => {
    const script = 'id; echo $HOME; pwd; ls -ld /work/dir'
    const { stdout } = tsrun('--rm', '-u', 'app', '-w', '/work/dir', image, 'sh', '-c', script)
    expect(stdout.split('\n')).toEqual([
      'uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)',
      '/home/app',
      '/work/dir',
      expect.stringMatching(/^drwxr-xr-x +2 root +root .* \/work\/dir$/),
      '',
    ])
    expect(tsrun('--rm', '-u', 'nobody-here', image, 'true')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('unable to find user nobody-here'),
    })
  })

  test('reads variables from --env-file, of which Node sees nothing', () => {
    const file = join(box.directory, 'env')
    writeFileSync(file, 'NODE_OPTIONS=--no-such-option\nA=file\n')
    const args = ['--rm', '--env-file', file, '-e', 'B=flag', '-e', 'HOME', image, 'env']
    const { stdout, stderr } = tsrun(...args)
    expect(stderr).toBe('')
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining([
        'NODE_OPTIONS=--no-such-option',
        'A=file',
        'B=flag',
        `HOME=${box.directory}`,
      ]),
    )
  })

  test('shows directories of this machine inside, read-only where wanted', () => {
    writeFileSync(join(box.directory, 'note'), 'from outside\n')
    const script = 'cat /in/note; echo x > /in/note; echo y > /etc/y; touch /scratch/z && echo fine'
    const { stdout, stderr } = tsrun(
      ...['--rm', '-v', `${box.directory}:/in:ro`, '--tmpfs', '/scratch', '--read-only'],
      ...[image, 'sh', '-c', script],
    )
    expect(stdout).toBe('from outside\nfine\n')
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2)
    expect(tsrun('--rm', '-v', '/nothing/there:/in', image, 'true')).toMatchObject({ status: 125 })
  })

  test('hands standard input on with -i alone', () => {
    const run = (...flags: string[]) =>
      spawnSync('/bin/sh', [program, '--rm', ...flags, image, 'cat'], { env, input: 'hello' })
    expect(String(run('-i').stdout)).toBe('hello')
    expect(String(run().stdout)).toBe('')
  })

  test('lists a running container, which no one else may have, until the third Ctrl-C', async () => {
    const child = await start('trap "" INT; hostname', '--rm', '--name', 'web')
    const exit = once(child, 'exit')
    const { stdout } = tsrun('ps', '--format', '{{.ID}} {{.Image}} {{.State}} {{.Names}}')
    expect(stdout).toMatch(new RegExp(`^[0-9a-f]{12} ${image} running web\n$`))
    expect(tsrun('rm', 'web')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('it is running'),
    })
    expect(tsrun('--rm', '--name', 'web', image, 'true')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('Cannot use container name "web"'),
    })
    for (let i = 0; i < 3; i++) {
      child.kill('SIGINT')
      await pause(100)
    }
    expect(await exit).toEqual([137, null])
    expect(ids()).toEqual([])
  })

  test.each([
    ['SIGTERM', 'TERM'],
    ['SIGINT', 'INT'],
    ['SIGUSR1', 'USR1'],
    ['SIGHUP', 'HUP'],
  ] as const)('hands %s on', async (signal, name) => {
    const child = await start(`trap "exit 44" ${name}; echo ready`, '--rm')
    child.kill(signal)
    expect(await once(child, 'exit')).toEqual([44, null])
  })

  test('killed itself, leaves no process and no --rm container', async () => {
    const child = await start('echo ready', '--rm')
    const [id = ''] = ids()
    expect(id).toMatch(/^[0-9a-f]{12}$/)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await expect.poll(ids).toEqual([])
    expect(readdirSync(join(store, 'containers'))).toEqual([])
  })

  test('keeps a container without --rm until rm', () => {
    expect(tsrun('--name', 'kept', image, 'sh', '-c', 'echo x > /made; exit 3').status).toBe(3)
    const { stdout } = tsrun('ps', '-a', '--format', 'json')
    const { ID, ...shown } = JSON.parse(stdout)
    expect(shown).toMatchObject({
      Names: 'kept',
      State: 'exited',
      Status: expect.stringContaining('Exited (3)'),
    })
    const [directory = ''] = readdirSync(join(store, 'containers'))
    expect(existsSync(join(store, 'containers', directory, 'fs/made'))).toBe(true)
    expect(tsrun('rmi', image)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('was made from it'),
    })
    expect(tsrun('rm', ID, 'nothing')).toMatchObject({
      status: 1,
      stdout: `${ID}\n`,
      stderr: 'ERROR: Cannot find container "nothing"\n',
    })
    expect(ids()).toEqual([])
  })

  test('publishes a port, which ps and inspect show, and refuses it to the next', async () => {
    const serve = 'echo hello from inside | busybox nc -l -p 80'
    const listener = `(while :; do ${serve}; done) & echo ready`
    const child = await start(listener, '--rm', '--name', 'web', '-p', '127.0.0.1::80')
    const exit = once(child, 'exit')
    const ports = () => tsrun('ps', '--format', '{{.Ports}}').stdout
    await expect.poll(ports).toMatch(/^127\.0\.0\.1:\d+->80\/tcp\n$/)
    const [, port = ''] = /:(\d+)->/.exec(ports()) ?? []
    const inspected = tsrun('inspect', '-f', '{{json .NetworkSettings.Ports}}', 'web').stdout
    expect(JSON.parse(inspected)).toEqual({ '80/tcp': [{ HostIp: '127.0.0.1', HostPort: port }] })
    const answer = () =>
      spawnSync('busybox', ['nc', '-w', '2', '127.0.0.1', port], { encoding: 'utf8' }).stdout
    await expect.poll(answer, { timeout: 10_000 }).toBe('hello from inside\n')
    expect(tsrun('--rm', '-p', `${port}:80`, image, 'true')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining(
        `Bind for 0.0.0.0:${port}/tcp failed: port is already allocated`,
      ),
    })
    child.kill('SIGKILL')
    await exit
    await expect.poll(() => tsrun('--rm', '-p', `${port}:80`, image, 'true').status).toBe(0)
  })

  test('stops the container by --stop-signal, and kills it after --stop-timeout', async () => {
    const polite = await start('trap "exit 3" USR2; echo ready', '--rm', '--stop-signal', 'USR2')
    polite.kill('SIGTERM')
    expect(await once(polite, 'exit')).toEqual([3, null])
    const deaf = await start('trap "" TERM; echo ready', '--rm', '--stop-timeout', '1')
    deaf.kill('SIGTERM')
    expect(await once(deaf, 'exit')).toEqual([137, null])
  })

  test('adds groups, an init, limits and a seccomp profile', () => {
    const profile = join(box.directory, 'profile.json')
    const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }]
    writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }))
    const { stdout, stderr } = tsrun(
      ...['--rm', '-u', 'app', '--group-add', '77', '--group-add', 'root', '--init'],
      ...['--ulimit', 'nofile=50', '--security-opt', `seccomp=${profile}`],
      ...[image, 'sh', '-c', 'id -G; ulimit -n; echo $$; mkdir /tmp/x'],
    )
    expect(stdout).toBe('1000 0 77 2000\n50\n2\n')
    expect(stderr).toContain('No space left on device')
  })

  test('gives a terminal with -t, in which Ctrl-C reaches the command', () => {
    const script = 'trap "echo caught; exit 9" INT; tty; echo ready; while :; do sleep 0.1; done'
    const harness = fileURLToPath(new URL('terminal.py', import.meta.url))
    const { stdout, stderr } = spawnSync(
      'python3',
      [harness, '/bin/sh', program, '--rm', '-it', image, 'sh', '-c', script],
      { input: 'ready\t\\x03\n', encoding: 'utf8', env, timeout: 20_000 },
    )
    expect(stderr).toBe('')
    expect(stdout).toContain('/dev/pts/0')
    expect(stdout).toContain('caught')
    expect(stdout).toContain('[restored] [exit 9]')
  })

  test('without -t gives nothing of the caller’s terminal, from which keys could be read', () => {
    const harness = fileURLToPath(new URL('terminal.py', import.meta.url))
    const script =
      'for n in 0 1 2; do test -t $n && echo terminal $n; done; head -c 1 <&1; ls -l /proc/self/fd'
    const { stdout } = spawnSync(
      'python3',
      [harness, '/bin/sh', program, '--rm', image, 'sh', '-c', script],
      { input: '', encoding: 'utf8', env, timeout: 20_000 },
    )
    expect(stdout).toContain('1 -> pipe:')
    expect(stdout).not.toMatch(/terminal \d|-> \/dev\/(pts|tty)/)
  })

  test('takes capabilities, privileges and limits', () => {
    const status = (...flags: string[]) =>
      tsrun(
        '--rm',
        ...flags,
        image,
        'sh',
        '-c',
        'grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status',
      ).stdout
    expect(status()).toContain('00000000a80425fb')
    expect(status('--cap-drop', 'ALL', '--cap-add', 'CHOWN')).toContain('0000000000000001')
    expect(status('--security-opt', 'no-new-privileges')).toContain('NoNewPrivs:\t1')
    expect(status()).toContain('Seccomp:\t2')
    expect(status('--security-opt', 'seccomp=unconfined')).toContain('Seccomp:\t0')
  })
})
