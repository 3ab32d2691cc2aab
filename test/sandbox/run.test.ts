import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { isNative, makeBox, missing, run } from './box.ts'

describe.skipIf(missing !== undefined)(`runSandbox()${missing ? ` (${missing})` : ''}`, () => {
  test('runs a program as PID 1 with its host name', async () => {
    using box = makeBox()
    const { code, stdout, stderr } = await run(box, 'echo $$; hostname; pwd')
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toBe('1\nbox\n/\n')
  })

  test('shows only processes, mounts and network devices of its own', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'ls -d /proc/[0-9]*; ls /sys/class/net; ip -o addr')
    expect(stdout).toMatch(/^\/proc\/1\nlo\n1: lo\s+inet 127\.0\.0\.1/)
  })

  test('passes on exit codes', async () => {
    using box = makeBox()
    expect(await run(box, 'exit 7')).toMatchObject({ code: 7, outOfMemory: false })
  })

  test('reports 128 + n and the signal for a program that a signal ended', async () => {
    using box = makeBox()
    const probe = 'sh -c "kill -9 \\$\\$"; echo $?'
    expect((await run(box, probe)).stdout).toContain('137')
    const killed = await run(box, 'sleep 60', {
      io: { onStarted: handle => setTimeout(() => handle.kill(9), 50) },
    })
    expect(killed).toMatchObject({ code: 137, signal: 9, outOfMemory: false })
  })

  test('delivers signals to the first process', async () => {
    using box = makeBox()
    const script = 'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.02; done'
    const ended = await run(box, script, {
      io: { onStarted: handle => setTimeout(() => handle.kill(15), 200) },
    })
    expect(ended).toMatchObject({ code: 3, stdout: 'ready\ngot it\n' })
  })

  test('keeps a large output of both streams whole', async () => {
    using box = makeBox()
    const script = 'dd if=/dev/zero bs=1024 count=3000 2>/dev/null; echo late >&2'
    const { stdout, stderr } = await run(box, script)
    expect(stdout.length).toBe(3000 * 1024)
    expect(stderr).toBe('late\n')
  })

  test('ends with the error that the reader of its output throws', async () => {
    using box = makeBox()
    const broken = new Error('disk full')
    const output = () => {
      throw broken
    }
    await expect(run(box, 'echo a; sleep 60', { io: { output } })).rejects.toBe(broken)
  })

  test('leaves nothing in the upper directory, whatever the image lacks (R17)', async () => {
    using box = makeBox()
    await run(box, 'true')
    expect(readdirSync(box.upper)).toEqual([])
  })

  test('writes into the upper directory, and nowhere with a read-only root', async () => {
    using box = makeBox()
    await run(box, 'echo a > /a')
    expect(readdirSync(box.upper)).toEqual(['a'])
    const refused = await run(box, 'echo b > /b', { readOnly: true })
    expect(refused.stderr).toContain('Read-only file system')
    expect(readdirSync(box.upper)).toEqual(['a'])
  })

  test('runs in a directory instead of an overlay', async () => {
    using box = makeBox()
    const root = { kind: 'directory', path: box.layer, readOnly: true } as const
    for (const name of ['proc', 'sys', 'dev']) await run(box, `mkdir -p /${name}`)
    const refused = await run(box, 'echo b > /b', { root })
    expect(refused.stderr).toContain('Read-only file system')
  })

  test('runs on 450 layers', async () => {
    using box = makeBox()
    const lower = [...box.manyLayers(450), box.layer]
    const root = { kind: 'overlay', lower, upper: box.upper, work: box.work } as const
    const { stdout } = await run(box, 'ls /layers | head -2; ls /layers | grep -c .', { root })
    expect(stdout).toBe('0\n1\n450\n')
  })
})

describe.skipIf(missing !== undefined)('the way to the program', () => {
  test.runIf(isNative)(
    'finds the first word of argv in the PATH of env, inside the root',
    async () => {
      using box = makeBox()
      const env = ['PATH=/nowhere::/bin', 'A=1']
      expect(await run(box, '', { argv: ['env'], env })).toMatchObject({
        code: 0,
        stdout: 'PATH=/nowhere::/bin\nA=1\n',
      })
    },
  )

  test.runIf(isNative)('tells a program that is not there (127) by name and by path', async () => {
    using box = makeBox()
    await expect(run(box, '', { argv: ['nope'] })).rejects.toMatchObject({
      code: 'not-found',
      exitCode: 127,
      message: 'Cannot run "nope": executable file not found in $PATH',
    })
    await expect(run(box, '', { argv: ['/bin/nope'] })).rejects.toMatchObject({
      exitCode: 127,
      message: 'Cannot run "/bin/nope": no such file or directory (ENOENT)',
    })
  })

  test.runIf(isNative)(
    'tells a program that cannot run (126): directory, no right, no interpreter, no format',
    async () => {
      using box = makeBox()
      box.write('bin/plain', 'x', 0o644)
      box.write('bin/lost', '#!/no/such/interpreter\n', 0o755)
      box.write('bin/noise', 'no header', 0o755)
      const cases = [
        ['/bin', 'Cannot run "/bin": illegal operation on a directory (EISDIR)'],
        ['/bin/plain', 'Cannot run "/bin/plain": permission denied (EACCES)'],
        ['plain', 'Cannot run "plain": permission denied (EACCES)'],
        ['/bin/lost', expect.stringContaining('its interpreter')],
        ['/bin/noise', expect.stringContaining('(ENOEXEC)')],
      ] as const
      for (const [program, message] of cases) {
        await expect(run(box, '', { argv: [program] })).rejects.toMatchObject({
          exitCode: 126,
          message,
        })
      }
    },
  )

  test('makes a working directory that is missing', async () => {
    using box = makeBox()
    for (const readOnly of [false, true]) {
      expect((await run(box, 'pwd', { cwd: `/a/${readOnly}`, readOnly })).stdout).toBe(
        `/a/${readOnly}\n`,
      )
    }
  })

  test('enters a working directory that only root can enter, as any user', async () => {
    using box = makeBox()
    await run(box, 'mkdir -p /root && chmod 700 /root')
    const user = { uid: 1000, gid: 1000, groups: [] }
    expect((await run(box, 'pwd', { cwd: '/root', user })).stdout).toBe('/root\n')
  })

  test.runIf(isNative)(
    'refuses a working directory outside: /proc/self/fd/N (CVE-2024-21626)',
    async () => {
      using box = makeBox()
      box.link('escape', '/proc/self/fd')
      for (const base of ['/proc/self/fd', '/proc/1/fd', '/escape']) {
        for (let fd = 3; fd < 16; fd++) {
          await expect(run(box, 'pwd', { cwd: `${base}/${fd}` })).rejects.toMatchObject({
            step: 'change the working directory',
          })
        }
      }
    },
    30_000,
  )

  test('refuses a text with a NUL', async () => {
    using box = makeBox()
    await expect(run(box, '', { argv: ['echo', 'a\0b'] })).rejects.toMatchObject({
      code: 'invalid',
    })
  })

  test('passes arguments and variables as they are', async () => {
    using box = makeBox()
    const odd = ['', ' a\nb', '"$HOME"', 'ü€']
    const { stdout } = await run(box, '', {
      argv: ['sh', '-c', 'for a; do echo "[$a]"; done', 'sh', ...odd],
    })
    expect(stdout).toBe(odd.map(text => `[${text}]\n`).join(''))
  })

  test('closes all descriptors but 0, 1 and 2', async () => {
    using box = makeBox()
    const { stdout } = await run(box, '', { argv: ['ls', '-l', '/proc/self/fd'] })
    const open = stdout.match(/ -> .*/g)?.map(text => text.replace(/\d{3,}/g, 'N'))
    expect(open?.slice(0, 3)).toEqual([' -> /dev/null', ' -> pipe:[N]', ' -> pipe:[N]'])
    // The directory that ls reads is the fourth, and gone again.
    expect(open?.slice(3).filter(text => !text.startsWith(' -> /proc/'))).toEqual([])
  })

  test('lets a user open /dev/stdout and /dev/stderr', async () => {
    using box = makeBox()
    const user = { uid: 1000, gid: 1000, groups: [] }
    const { stdout, stderr } = await run(box, 'echo a > /dev/stdout; echo b > /dev/stderr', {
      user,
    })
    expect([stdout, stderr]).toEqual(['a\n', 'b\n'])
  })
})
