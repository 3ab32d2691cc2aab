/** Containers that live on without who started them. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    // Closed meanwhile.
    return undefined
  }
}

describe.skipIf(missing !== undefined)(`tsrun -d${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let box: TsrunStore['box']
  let program: string
  let env: TsrunStore['env']
  let store: string
  let tsrun: TsrunStore['tsrun']

  beforeAll(() => {
    made = makeTsrunStore()
    ;({ box, store, program, env, tsrun } = made)
  }, 60_000)

  afterAll(() => {
    const ids = made.ids()
    expect(tsrun('rm', '-f', ...ids).status).toBe(0)
    made[Symbol.dispose]()
  })

  /** Its whole id. */
  function start(name: string, script: string, ...flags: string[]): string {
    const { stdout, stderr } = tsrun('-d', '--name', name, ...flags, 'bb', 'sh', '-c', script)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^[0-9a-f]{64}\n$/)
    return stdout.trim()
  }

  const status = (name: string) =>
    tsrun('ps', '-a', '--format', '{{.Names}} {{.State}} {{.Status}}')
      .stdout.split('\n')
      .find(line => line.startsWith(`${name} `))

  const monitorOf = (name: string) => {
    const pid = tsrun('inspect', '-f', '{{.State.Pid}}', name).stdout.trim()
    const [, parent = ''] =
      /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return { pid: Number(pid), monitor: Number(parent) }
  }

  const isAlive = (pid: number) =>
    existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))

  const forever = 'while :; do sleep 0.05; done'

  test('is started again, with its files, its flags and its log', () => {
    const script =
      'echo run >> /count; busybox wc -l < /count; cat /proc/sys/kernel/hostname; [ -e /stop ] || sleep 1000'
    start('again', script, '-h', 'keeper', '-m', '64m')
    expect(tsrun('start', 'again')).toEqual({ status: 0, stdout: 'again\n', stderr: '' })
    expect(tsrun('stop', '-t', '0', 'again').status).toBe(0)
    expect(status('again')).toMatch(/^again exited Exited \(137\)/)
    expect(tsrun('start', 'again').stdout).toBe('again\n')
    expect(status('again')).toMatch(/^again running Up/)
    expect(tsrun('exec', 'again', 'touch', '/stop').status).toBe(0)
    expect(tsrun('restart', '-t', '0', 'again').stdout).toBe('again\n')
    expect(tsrun('wait', 'again').stdout).toBe('0\n')
    expect(tsrun('logs', 'again').stdout).toBe('1\nkeeper\n2\nkeeper\n3\nkeeper\n')
    expect(status('again')).toMatch(/^again exited Exited \(0\)/)
    expect(tsrun('start', '-a', 'again').stderr).toContain('tsrun logs -f')
    expect(tsrun('start', 'nobody').stderr).toContain('Cannot find container "nobody"')
  })

  test('that ran in the foreground is started in the background', () => {
    expect(tsrun('--name', 'earlier', 'bb', 'sh', '-c', 'echo $((1+1))').stdout).toBe('2\n')
    expect(tsrun('start', 'earlier').status).toBe(0)
    expect(tsrun('wait', 'earlier').stdout).toBe('0\n')
    expect(tsrun('logs', 'earlier').stdout).toBe('2\n')
  })

  test('is as it was when it cannot be started again', () => {
    const mark = join(box.directory, 'goes')
    mkdirSync(mark)
    start('once', 'exit 5', '-v', `${mark}:/goes`)
    expect(tsrun('wait', 'once').stdout).toBe('5\n')
    rmdirSync(mark)
    expect(tsrun('start', 'once')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(mark),
    })
    expect(tsrun('start', 'once').status).toBe(1)
    expect(status('once')).toMatch(/^once exited Exited \(5\)/)
  })

  test('keeps as much of its output as it is told to', async () => {
    const script = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done'
    const id = start('limited', script, '--log-opt', 'max-size=32k', '--log-opt', 'max-file=2')
    expect(tsrun('wait', 'limited').stdout).toBe('0\n')
    const lines = tsrun('logs', 'limited').stdout.trim().split('\n')
    expect(lines.at(-1)).toBe('line 20000')
    expect(lines.length).toBeLessThan(2000)
    const first = Number(/^line (\d+)$/.exec(lines[0] ?? '')?.[1])
    expect(lines).toEqual(lines.map((_, index) => `line ${first + index}`))
    expect(tsrun('logs', '--tail', '1', 'limited').stdout).toBe('line 20000\n')
    // 64 KiB are kept, and up to a quarter more until the next time.
    expect(statSync(join(store, 'containers', id, 'log')).blocks * 512).toBeLessThan(100_000)
    for (const [option, words] of [
      ['max-size=1k', 'the least is 4096'],
      ['max-file=3', 'it takes max-size, too'],
      ['mode=non-blocking', 'expected max-size=BYTES or max-file=NUMBER'],
    ] as const) {
      expect(tsrun('-d', '--log-opt', option, 'bb', 'true')).toMatchObject({
        status: 125,
        stderr: expect.stringContaining(words),
      })
    }
    expect(tsrun('--log-opt', 'max-size=1m', 'bb', 'true').stderr).toContain('without --detach')
  })

  test('prints the id of a container that lives on, and tells its end', () => {
    const id = start('web', `trap "echo bye; exit 7" TERM; echo ready; ${forever}`)
    expect(status('web')).toMatch(/^web running Up /)
    expect(tsrun('stop', 'web')).toEqual({ status: 0, stdout: 'web\n', stderr: '' })
    expect(status('web')).toMatch(/^web exited Exited \(7\) /)
    expect(tsrun('wait', id).stdout).toBe('7\n')
    expect(tsrun('logs', 'web').stdout).toBe('ready\nbye\n')
    const inspected = JSON.parse(tsrun('inspect', '-f', '{{json .State}}', 'web').stdout)
    expect(inspected).toMatchObject({ Status: 'exited', Running: false, ExitCode: 7, Pid: 0 })
    expect(Date.parse(inspected.FinishedAt)).toBeGreaterThan(Date.parse(inspected.StartedAt))
    expect(tsrun('rm', 'web')).toMatchObject({ status: 0 })
  })

  test('a program that cannot start is told, and leaves no container', () => {
    expect(tsrun('-d', 'bb', 'nothing-here')).toMatchObject({
      status: 127,
      stderr: expect.stringContaining('executable file not found'),
    })
    expect(tsrun('-d', '--name', 'never', 'bb', '/etc/passwd').status).toBe(126)
    expect(status('never')).toBeUndefined()
  })

  test('logs keep every byte, of both streams, in order, also of unfinished lines', () => {
    const script = `printf 'a\\000b\\377\\n'; echo err >&2; sleep 0.1; printf 'no end'; exit 3`
    start('bytes', script)
    expect(tsrun('wait', 'bytes').stdout).toBe('3\n')
    const { stdout, stderr } = spawnSync('/bin/sh', [program, 'logs', 'bytes'], { env })
    expect(stdout).toEqual(Buffer.from('a\0b\xff\nno end', 'latin1'))
    expect(String(stderr)).toBe('err\n')
    start('many', 'i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done')
    expect(tsrun('wait', 'many')).toEqual({ status: 0, stdout: '0\n', stderr: '' })
    const lines = tsrun('logs', 'many').stdout.split('\n')
    expect(lines).toHaveLength(20_001)
    expect(lines[19_999]).toBe('line 19999')
    expect(tsrun('logs', '--tail', '2', 'many').stdout).toBe('line 19998\nline 19999\n')
    expect(tsrun('logs', '-t', '-n', '1', 'many').stdout).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z line 19999\n$/,
    )
    expect(tsrun('logs', '--until', '1h', 'many').stdout).toBe('')
    expect(tsrun('logs', '--since', '1h', '-n', '1', 'many').stdout).toBe('line 19999\n')
    expect(tsrun('logs', '--tail', 'few', 'many')).toMatchObject({ status: 125 })
  })

  test('logs -f shows what comes, and ends with the container', async () => {
    start('slow', 'for i in 1 2 3; do echo $i; sleep 0.2; done')
    const child = spawn('/bin/sh', [program, 'logs', '-f', 'slow'], { env })
    const shown: Buffer[] = []
    child.stdout.on('data', chunk => shown.push(chunk))
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(String(Buffer.concat(shown))).toBe('1\n2\n3\n')
  })

  test('--rm removes it when it ends, by itself, and wait still tells the code', async () => {
    const id = start('gone', `trap "exit 5" TERM; ${forever}`, '--rm')
    const child = spawn('/bin/sh', [program, 'wait', 'gone'], { env })
    const end = join(store, 'containers', id, 'end')
    const files = `/proc/${child.pid}/fd`
    const isOpen = () => readdirSync(files).some(fd => linkOf(join(files, fd)) === end)
    await expect.poll(isOpen, { timeout: 10_000 }).toBe(true)
    const [[chunk]] = await Promise.all([once(child.stdout, 'data'), tsrun('stop', 'gone')])
    expect(String(chunk)).toBe('5\n')
    await expect.poll(() => readdirSync(join(store, 'containers'))).not.toContain(id)
  })

  test('stop gives it time and then kills it; kill sends any signal; both only what runs', () => {
    start('deaf', `trap "" TERM; ${forever}`)
    expect(tsrun('stop', '-t', '0', 'deaf').status).toBe(0)
    expect(status('deaf')).toContain('Exited (137)')
    start('polite', `trap "echo got; exit 4" USR1; ${forever}`, '--stop-signal', 'USR1')
    expect(tsrun('kill', '-s', 'CONT', 'polite').status).toBe(0)
    expect(tsrun('stop', 'polite').status).toBe(0)
    expect(status('polite')).toContain('Exited (4)')
    expect(tsrun('kill', 'polite')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('is not running'),
    })
    expect(tsrun('stop', 'polite', 'nobody')).toMatchObject({ status: 1, stdout: 'polite\n' })
  })

  test('rm refuses what runs, and -f ends it first', () => {
    start('busy', forever)
    expect(tsrun('rm', 'busy')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('it is running'),
    })
    expect(tsrun('rm', '-f', 'busy', 'nobody')).toMatchObject({ status: 0, stdout: 'busy\n' })
    expect(status('busy')).toBeUndefined()
  })

  test('a container in the foreground hears stop and kill as well', async () => {
    const child = spawn(
      '/bin/sh',
      [program, '--name', 'front', 'bb', 'sh', '-c', `trap "exit 6" TERM; echo up; ${forever}`],
      { env },
    )
    await once(child.stdout, 'data')
    const exit = once(child, 'exit')
    expect(tsrun('stop', 'front').status).toBe(0)
    expect(await exit).toEqual([6, null])
    expect(tsrun('logs', 'front')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('It was not started with --detach'),
    })
  })

  test('killed with its monitor, it is told as killed, and nothing of it runs', async () => {
    start('victim', forever, '-p', '127.0.0.1::80')
    const { pid, monitor } = monitorOf('victim')
    process.kill(monitor, 'SIGKILL')
    await expect.poll(() => isAlive(pid)).toBe(false)
    expect(status('victim')).toBe('victim exited Exited (killed)')
    expect(tsrun('wait', 'victim').stdout).toBe('137\n')
    expect(tsrun('inspect', '-f', '{{.State.ExitCode}}', 'victim').stdout).toBe('137\n')
    expect(tsrun('rm', 'victim').status).toBe(0)
  })

  test('when its first process is killed from outside, the end says so', async () => {
    start('hit', forever)
    process.kill(monitorOf('hit').pid, 'SIGKILL')
    await expect.poll(() => status('hit')).toContain('Exited (137)')
  })

  test('a program of -i waits, of -t has a terminal, of neither finds no input', () => {
    start('none', 'cat; echo end')
    expect(tsrun('wait', 'none').stdout).toBe('0\n')
    start('open', 'cat; echo end', '-i')
    start('tty', 'test -t 0 && test -t 1 && tty; exec cat', '-it')
    expect(status('open')).toContain('running')
    expect(status('tty')).toContain('running')
    expect(tsrun('logs', 'tty').stdout).toBe('/dev/pts/0\r\n')
  })

  test('its published port leads to it, and is free after its end', async () => {
    const serve = 'echo hello | busybox nc -l -p 80'
    start('web', `while :; do ${serve}; done`, '-p', '127.0.0.1::80')
    const [, port = ''] = /:(\d+)->/.exec(tsrun('ps', '--format', '{{.Ports}}').stdout) ?? []
    const ask = () =>
      spawnSync('busybox', ['nc', '-w', '2', '127.0.0.1', port], { encoding: 'utf8' }).stdout
    await expect.poll(ask, { timeout: 10_000 }).toBe('hello\n')
    tsrun('rm', '-f', 'web')
    expect(tsrun('--rm', '-p', `127.0.0.1:${port}:80`, 'bb', 'true').status).toBe(0)
  })

  test('a memory limit that it reaches is told, and its cgroups are gone', () => {
    const id = start('fat', 'exec dd if=/dev/zero of=/dev/shm/x bs=1M count=40', '-m', '16m')
    tsrun('wait', 'fat')
    const state = JSON.parse(tsrun('inspect', '-f', '{{json .State}}', 'fat').stdout)
    expect(state).toMatchObject({ OOMKilled: true })
    const left = spawnSync('find', ['/sys/fs/cgroup', '-maxdepth', '4', '-path', '*tsbuild/*'])
    expect(String(left.stdout)).not.toContain(id)
  })

  test('--restart is refused by name', () => {
    expect(tsrun('-d', '--restart', 'always', 'bb', 'true')).toMatchObject({
      status: 125,
      stderr: expect.stringMatching(/--restart.*systemd/s),
    })
  })
})
