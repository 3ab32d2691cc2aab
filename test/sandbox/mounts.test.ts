import { spawn } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { SandboxMount } from '../../src/layerfs/sandbox/spec.ts'
import { type Box, isNative, makeBox, missing, run } from './box.ts'

function bind(source: string, target: string, changes: object = {}): SandboxMount {
  return { kind: 'bind', source, target, readOnly: false, recursive: false, ...changes }
}

function file(target: string, content: string, changes: object = {}): SandboxMount {
  return {
    kind: 'file',
    target,
    content: Buffer.from(content),
    mode: 0o400,
    uid: 0,
    gid: 0,
    ...changes,
  }
}

function shared(box: Box): string {
  const path = join(box.directory, 'shared')
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'a'), 'from outside')
  return path
}

describe.skipIf(missing !== undefined)('a bind of the whole machine', () => {
  test('shows it as it is, and nothing that the container has mounted', async () => {
    using box = makeBox()
    box.write('only-in-the-image', '', 0o644)
    const look = [
      // Another file system than the container's root, and the machine's own.
      'stat -c %d:%i /host / | tr "\\n" " "; echo',
      'ls /host/only-in-the-image /host/parking 2>&1',
      'cat /host/etc/hosts; cat /etc/secret',
      // Neither files in memory nor mounts of ours are anywhere below it.
      'cut -d" " -f5 /proc/self/mountinfo | grep "^/host" | sort',
      'ls -d /host/host/. 2>&1; ls /host/proc | head -3',
    ].join('; echo --; ')
    const mounts = [
      file('/etc/secret', 'a secret in memory'),
      bind('/', '/host'),
      { kind: 'tmpfs', target: '/memory', mode: 0o755 } satisfies SandboxMount,
    ]
    const { stdout } = await run(box, look, { mounts })
    const [ids = '', absent = '', files = '', below = ''] = stdout.split('--\n')
    const { dev, ino } = lstatSync('/')
    expect(ids).toMatch(new RegExp(`^${dev}:${ino} `))
    expect(ids.trim().split(' ')[1]).not.toBe(`${dev}:${ino}`)
    expect(absent.match(/No such file/g)).toHaveLength(2)
    expect(files).toBe(`${readFileSync('/etc/hosts', 'utf8')}a secret in memory`)
    expect(below.trim()).toBe('/host')
  })

  test('and recursively what the machine has mounted, not what the container has', async () => {
    using box = makeBox()
    const { stdout } = await run(
      box,
      'cut -d" " -f5 /proc/self/mountinfo | grep "^/host" | sed "s,^/host,," | sort -u',
      { mounts: [bind('/', '/host', { recursive: true })] },
    )
    const here = readFileSync('/proc/self/mountinfo', 'utf8')
      .trim()
      .split('\n')
      .map(line => line.split(' ')[4] ?? '')
      .map(point => (point === '/' ? '' : point))
    // Others mount and unmount on this machine meanwhile.
    const strange = stdout.split('\n').filter(point => !here.includes(point))
    expect(strange.filter(point => /^\/(memory|parking|host|etc\/hosts)/.test(point))).toEqual([])
    expect(stdout.split('\n')).toContain('/proc')
    expect(stdout).not.toMatch(/^\/etc\/(hosts|hostname|resolv\.conf)$/m)
  })

  test('while somebody swaps the source for a link: it is one of both, never a third', async () => {
    using box = makeBox()
    const source = join(box.directory, 'swapped')
    const inside = join(box.directory, 'honest')
    const other = join(box.directory, 'other')
    for (const [path, word] of [
      [inside, 'honest'],
      [other, 'other'],
    ] as const) {
      mkdirSync(path)
      writeFileSync(join(path, 'word'), word)
    }
    const swapper = spawn(
      'sh',
      ['-c', `while :; do ln -sfn ${inside} ${source}; ln -sfn ${other} ${source}; done`],
      { stdio: 'ignore' },
    )
    try {
      while (!existsSync(source)) await new Promise(done => setTimeout(done, 5))
      for (let round = 0; round < 8; round++) {
        const { stdout } = await run(box, 'cat /in/word', {
          mounts: [bind(source, '/in'), bind('/', '/host')],
        })
        expect(stdout).toMatch(/^(honest|other)$/)
      }
    } finally {
      swapper.kill('SIGKILL')
    }
  })
})

describe.skipIf(missing !== undefined)('the standard mounts', () => {
  test('have the flags Docker gives them', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'cat /proc/mounts')
    const flags = Object.fromEntries(
      stdout.split('\n').map(line => {
        const [, target = '', type, options] = line.split(' ')
        return [target, `${type} ${options}`]
      }),
    )
    expect(flags).toMatchObject({
      '/proc': 'proc rw,nosuid,nodev,noexec,relatime',
      '/dev': 'tmpfs rw,nosuid,size=65536k,mode=755',
      '/dev/pts': 'devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666',
      '/dev/shm': 'tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k',
      '/dev/mqueue': 'mqueue rw,nosuid,nodev,noexec,relatime',
      '/sys': 'sysfs ro,nosuid,nodev,noexec,relatime',
      '/proc/sys': 'proc ro,nosuid,nodev,noexec,relatime',
      '/etc/hosts': expect.stringMatching(/^tmpfs ro,/),
    })
  })

  test.runIf(isNative)('have the devices and links of Docker and no others', async () => {
    using box = makeBox()
    const { stdout } = await run(
      box,
      'cd /dev; stat -c "%n %F %t:%T %a" * | grep -v directory; ls -l',
    )
    expect(stdout.split('\n').filter(line => line.includes('character'))).toEqual([
      'full character special file 1:7 666',
      'null character special file 1:3 666',
      'random character special file 1:8 666',
      'tty character special file 5:0 666',
      'urandom character special file 1:9 666',
      'zero character special file 1:5 666',
    ])
    for (const link of ['ptmx -> pts/ptmx', 'fd -> /proc/self/fd', 'core -> /proc/kcore']) {
      expect(stdout).toContain(link)
    }
  })

  test('/dev/shm has the size asked for', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'grep /dev/shm /proc/mounts', { shmSize: 1 << 20 })
    expect(stdout).toContain('size=1024k')
  })
})

describe.skipIf(missing !== undefined)('user mounts', () => {
  test('a bind shows the source; read-only ones cannot be written', async () => {
    using box = makeBox()
    const source = shared(box)
    const script = 'cat /data/a; echo b > /data/b'
    const writable = await run(box, script, { mounts: [bind(source, '/data')] })
    expect(writable).toMatchObject({ code: 0, stdout: 'from outside' })
    expect(readFileSync(join(source, 'b'), 'utf8')).toBe('b\n')
    const readOnly = await run(box, 'echo c > /data/c', {
      mounts: [bind(source, '/data', { readOnly: true })],
    })
    expect(readOnly.stderr).toContain('Read-only file system')
  })

  test('a bind of a file lies over a file, and a missing source is named', async () => {
    using box = makeBox()
    const source = join(shared(box), 'a')
    const { stdout } = await run(box, 'cat /etc/passwd', { mounts: [bind(source, '/etc/passwd')] })
    expect(stdout).toBe('from outside')
    await expect(
      run(box, 'true', { mounts: [bind('/no/such/source', '/a')] }),
    ).rejects.toMatchObject({
      message:
        'Cannot open the source of a mount "/no/such/source": no such file or directory (ENOENT)',
    })
  })

  test.runIf(isNative)(
    'a file over a directory is refused, and so are /, anything in /proc and what is masked',
    async () => {
      using box = makeBox()
      const source = shared(box)
      for (const mount of [
        bind(join(source, 'a'), '/tmp'),
        bind(source, '/etc/passwd'),
        bind(source, '/'),
        bind(source, '/tmp/..'),
        bind(source, '/proc'),
        bind(source, '/proc/self'),
        bind(join(source, 'a'), '/proc/self/status'),
        bind(join(source, 'a'), '/proc/kcore'),
        bind(source, '/sys/firmware'),
      ]) {
        await expect(run(box, 'true', { mounts: [mount] })).rejects.toMatchObject({ step: 'mount' })
      }
    },
  )

  test('a target is resolved inside the root, links and dots too (CVE-2021-30465)', async () => {
    using box = makeBox()
    const source = shared(box)
    const outside = mkdtempSync('/tmp/sandbox-outside-')
    box.link('out', outside)
    box.link('up', '../../../../../../../tmp/inner')
    const { stdout } = await run(box, `cat ${outside}/deep/a /tmp/inner/a`, {
      mounts: [bind(source, '/out/deep'), bind(source, '/up')],
    })
    expect(stdout).toBe('from outsidefrom outside')
    expect(readdirSync(outside)).toEqual([])
    rmSync(outside, { recursive: true })
  })

  test('a link that leads to itself is refused', async () => {
    using box = makeBox()
    box.link('a', 'b')
    box.link('b', 'a/x')
    await expect(run(box, 'true', { mounts: [bind(shared(box), '/a/c')] })).rejects.toMatchObject({
      step: 'mount',
    })
  })

  test('a tmpfs has its size and mode, takes no device or set-id program, and is gone after', async () => {
    using box = makeBox()
    const mounts: SandboxMount[] = [{ kind: 'tmpfs', target: '/cache', size: 65536, mode: 0o1770 }]
    const script =
      'stat -c %a /cache; grep /cache /proc/mounts; dd if=/dev/zero of=/cache/big bs=1k count=100'
    const { stdout, stderr } = await run(box, script, { mounts })
    expect(stdout).toMatch(/^1770\ntmpfs \/cache tmpfs rw,nosuid,nodev,relatime,size=64k/)
    expect(stderr).toContain('No space left on device')
    expect(readdirSync(box.upper)).toEqual([])
  })

  test('a secret of 500 KiB is a read-only file with its mode and owner, and in no layer (R12)', async () => {
    using box = makeBox()
    const secret = `${'x'.repeat(500 * 1024)}\0end`
    const mounts = [
      file('/run/secrets/token', secret, { uid: 1000, gid: 5 }),
      file('/run/secrets/other', 'two', { mode: 0o444 }),
    ]
    const script =
      'stat -c "%a %u %g %s" /run/secrets/token; cat /run/secrets/other; ls /run/secrets; echo x > /run/secrets/token'
    const { stdout, stderr } = await run(box, script, { mounts })
    expect(stdout).toBe(`400 1000 5 ${secret.length}\ntwoother\ntoken\n`)
    expect(stderr).toContain('Read-only file system')
    expect(readdirSync(box.upper)).toEqual([])
  })

  test('later mounts lie over earlier ones, and a mount may replace /etc/hosts', async () => {
    using box = makeBox()
    const mounts = [
      file('/tmp/f', 'first'),
      file('/tmp/f', 'second'),
      file('/etc/hosts', '1.2.3.4 mine\n'),
    ]
    expect((await run(box, 'cat /tmp/f /etc/hosts', { mounts })).stdout).toBe(
      'second1.2.3.4 mine\n',
    )
  })

  test('a recursive bind carries the mounts below, and what is mounted inside stays inside', async () => {
    using box = makeBox()
    const mounts = [bind('/dev', '/host', { recursive: true }), bind('/dev', '/plain')]
    const { stdout } = await run(
      box,
      'grep -c " /host/" /proc/mounts; grep -c " /plain/" /proc/mounts',
      {
        mounts,
      },
    )
    const [recursive, plain] = stdout.trim().split('\n').map(Number)
    expect(recursive).toBeGreaterThan(0)
    expect(plain).toBe(0)
  })
})

describe.skipIf(missing !== undefined)('mount targets that were made (R15)', () => {
  const parent = (box: Box) => lstatSync(join(box.layer, 'tmp'), { bigint: true }).mtimeNs

  test('are gone afterwards, and their directory has its time again', async () => {
    using box = makeBox()
    utimesSync(join(box.layer, 'tmp'), 1_000_000_000.123456, 1_000_000_000.123456)
    const mounts = [bind(shared(box), '/tmp/a/b/c'), file('/tmp/f', 'x')]
    await run(box, 'cat /tmp/a/b/c/a', { mounts })
    expect(readdirSync(join(box.upper, 'tmp'))).toEqual([])
    const copied = lstatSync(join(box.upper, 'tmp'), { bigint: true })
    expect(copied.mtimeNs).toBe(parent(box))
  })

  test('are gone after an error, too', async () => {
    using box = makeBox()
    const mounts = [file('/tmp/f', 'x')]
    const output = () => {
      throw new Error('stop')
    }
    await expect(run(box, 'echo a; sleep 9', { mounts, io: { output } })).rejects.toThrow('stop')
    expect(readdirSync(join(box.upper, 'tmp'))).toEqual([])
    await expect(run(box, '', { argv: ['nope'], mounts })).rejects.toThrow('not found')
    expect(readdirSync(join(box.upper, 'tmp'))).toEqual([])
  })

  test('stay when the program put something into or beside them', async () => {
    using box = makeBox()
    const mounts = [bind(shared(box), '/tmp/a/b')]
    await run(box, 'echo x > /tmp/a/beside', { mounts })
    expect(readdirSync(join(box.upper, 'tmp/a'))).toEqual(['beside'])
  })

  test('leave the time that the program gave their directory', async () => {
    using box = makeBox()
    const mounts = [bind(shared(box), '/tmp/a')]
    await run(box, 'touch /tmp/own; touch -d "2001-01-01 00:00:00" /tmp', { mounts })
    expect(readdirSync(join(box.upper, 'tmp'))).toEqual(['own'])
    expect(lstatSync(join(box.upper, 'tmp')).mtime.getUTCFullYear()).toBe(2001)
  })

  test('removing them follows no link that the program left', async () => {
    using box = makeBox()
    const outside = mkdtempSync('/tmp/sandbox-outside-')
    mkdirSync(join(outside, 'b'))
    const mounts = [file('/tmp/a/b/c', 'x')]
    // The mount keeps a from being removed but not from being moved away.
    await run(box, `ln -s ${outside} /tmp/x; mv /tmp/a /tmp/moved && ln -s ${outside} /tmp/a`, {
      mounts,
    })
    expect(existsSync(join(outside, 'b'))).toBe(true)
    rmSync(outside, { recursive: true })
  })
})
