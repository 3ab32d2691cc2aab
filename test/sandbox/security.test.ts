import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { allCapabilities, defaultSecurity } from '../../src/layerfs/sandbox/defaults.ts'
import { makeBox, missing, run } from './box.ts'

/** `docker run debian grep Cap /proc/self/status` shows the same. */
const dockerMask = '00000000a80425fb'
const none = '0000000000000000'

function capabilitySets(status: string): Record<string, string> {
  return Object.fromEntries(
    [...status.matchAll(/^Cap(\w+):\t(\w+)$/gm)].map(([, set = '', mask = '']) => [set, mask]),
  )
}

describe.skipIf(missing !== undefined)('capabilities', () => {
  const status = 'cat /proc/self/status'

  test("are Docker's fourteen in bounding, permitted and effective, and no others", async () => {
    using box = makeBox()
    expect(capabilitySets((await run(box, status)).stdout)).toEqual({
      Inh: none,
      Prm: dockerMask,
      Eff: dockerMask,
      Bnd: dockerMask,
      Amb: none,
    })
  })

  test('are only the bound of what another user can get', async () => {
    using box = makeBox()
    const user = { uid: 1000, gid: 1001, groups: [1001, 7] }
    const { stdout } = await run(box, `${status}; id`, { user })
    expect(capabilitySets(stdout)).toEqual({
      Inh: none,
      Prm: none,
      Eff: none,
      Bnd: dockerMask,
      Amb: none,
    })
    expect(stdout).toContain('uid=1000 gid=1001 groups=7,1001')
  })

  test('are none when none are granted, and those named when some are', async () => {
    using box = makeBox()
    for (const [capabilities, mask] of [
      [[], none],
      [['CAP_CHOWN', 'CAP_SYS_ADMIN'], '0000000000200001'],
    ] as const) {
      const security = { ...defaultSecurity, capabilities }
      const sets = capabilitySets((await run(box, status, { security })).stdout)
      expect(sets).toMatchObject({ Bnd: mask, Prm: mask, Eff: mask, Inh: none })
    }
  })

  test('are refused when Linux has none of that name', async () => {
    using box = makeBox()
    const security = { ...defaultSecurity, capabilities: ['CAP_EVERYTHING'] }
    await expect(run(box, 'true', { security })).rejects.toMatchObject({ code: 'invalid' })
  })

  test('leave no_new_privs off, and on when asked for', async () => {
    using box = makeBox()
    const grep = 'grep NoNewPrivs /proc/self/status'
    expect((await run(box, grep)).stdout).toBe('NoNewPrivs:\t0\n')
    const security = { ...defaultSecurity, noNewPrivileges: true }
    expect((await run(box, grep, { security })).stdout).toBe('NoNewPrivs:\t1\n')
  })
})

describe.skipIf(missing !== undefined)('the default system call filter', () => {
  const directory = mkdtempSync('/tmp/sandbox-probe-')
  const probe = join(directory, 'probe')
  beforeAll(() => {
    const source = fileURLToPath(new URL('probe.c', import.meta.url))
    execFileSync('cc', ['-static', '-O1', '-o', probe, source])
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  async function answers(security = defaultSecurity): Promise<Record<string, number>> {
    using box = makeBox()
    box.write('bin/probe', readFileSync(probe), 0o755)
    const { stdout } = await run(box, '', { argv: ['probe'], security })
    return Object.fromEntries(
      [...stdout.matchAll(/^(\S+) (\d+)$/gm)].map(([, name = '', errno]) => [name, Number(errno)]),
    )
  }

  const EPERM = 1
  const ENOSYS = 38

  test('refuses, allows and does not know what Docker does', async () => {
    expect(await answers()).toEqual({
      unshare: EPERM,
      'unshare-user': EPERM,
      mount: EPERM,
      fsopen: EPERM,
      keyctl: EPERM,
      bpf: EPERM,
      io_uring_setup: EPERM,
      userfaultfd: EPERM,
      clone3: ENOSYS,
      'clone-newuser': EPERM,
      newer: ENOSYS,
      'socket-alg': EPERM,
      'socket-alg-high': EPERM,
      'socket-vsock': EPERM,
      'socket-inet': 0,
      'socket-unix': 0,
      'personality-query': 0,
      'personality-no-randomize': EPERM,
      chroot: 0,
      acct: EPERM,
      ...(process.arch === 'x64'
        ? { 'x32-getpid': ENOSYS, 'i386-getpid': 0, 'i386-unshare': EPERM }
        : {}),
    })
  })

  test('follows the capabilities: CAP_SYS_ADMIN may mount, no CAP_SYS_CHROOT no chroot', async () => {
    const granted = { ...defaultSecurity, capabilities: ['CAP_SYS_ADMIN'] }
    // 22: EINVAL of the kernel itself.
    expect(await answers(granted)).toMatchObject({ unshare: 0, clone3: 22, chroot: EPERM })
  })

  test('is the same for another user, and with no_new_privs', async () => {
    using box = makeBox()
    box.write('bin/probe', readFileSync(probe), 0o755)
    const security = { ...defaultSecurity, noNewPrivileges: true, capabilities: [] }
    const user = { uid: 1, gid: 1, groups: [] }
    const { stdout } = await run(box, '', { argv: ['probe'], security, user })
    expect(stdout).toContain(`clone3 ${ENOSYS}\n`)
    expect(stdout).toContain(`socket-vsock ${EPERM}\n`)
  })

  test('is absent when unconfined', async () => {
    using box = makeBox()
    const security = { ...defaultSecurity, seccomp: 'unconfined' } as const
    const grep = 'grep Seccomp: /proc/self/status'
    expect((await run(box, grep)).stdout).toBe('Seccomp:\t2\n')
    expect((await run(box, grep, { security })).stdout).toBe('Seccomp:\t0\n')
  })

  test('is made from the table: the header is up to date', () => {
    const root = fileURLToPath(new URL('../..', import.meta.url))
    const header = join(root, 'src/layerfs/native/sandbox/seccomp-table.h')
    const before = readFileSync(header, 'utf8')
    execFileSync(process.execPath, [join(root, 'scripts/generate-seccomp.mjs')])
    expect(readFileSync(header, 'utf8')).toBe(before)
  })
})

describe.skipIf(missing !== undefined)('what of the kernel is hidden', () => {
  test('masked paths read as empty, read-only ones cannot be written', async () => {
    using box = makeBox()
    const masked = await run(
      box,
      'cat /proc/keys /proc/interrupts /proc/timer_list; ls /sys/firmware; (echo x > /proc/keys)',
    )
    expect(masked.stdout).toBe('')
    const { stderr } = await run(
      box,
      'for f in /proc/sys/kernel/core_pattern /sys/kernel/uevent_helper /proc/irq/default_smp_affinity; do echo x > $f; done',
    )
    expect(stderr).toContain('core_pattern: Read-only file system')
    expect(stderr).toContain('uevent_helper: Read-only file system')
    expect(stderr).toContain('default_smp_affinity: Read-only file system')
  })

  test('unmasked shows them all', async () => {
    using box = makeBox()
    const security = { ...defaultSecurity, paths: 'unmasked' } as const
    const { stdout } = await run(box, 'head -1 /proc/interrupts', { security })
    expect(stdout).toContain('CPU0')
  })

  test('a program cannot uncover them, even with CAP_SYS_ADMIN of the default filter off', async () => {
    using box = makeBox()
    const { stderr } = await run(box, 'mount -t proc proc /tmp; umount /proc/keys')
    expect(stderr).toContain('permission denied')
  })

  test('CVE-2022-0492: no cgroup release agent can be set', async () => {
    using box = makeBox()
    const script = 'mkdir /tmp/c && mount -t cgroup -o memory cgroup /tmp/c && echo open'
    expect((await run(box, script)).stdout).toBe('')
  })
})

describe.skipIf(missing !== undefined)('what the image put in the way', () => {
  const standard = ['dev', 'proc', 'sys']

  test.each(standard)(
    'refuses a symbolic link at /%s, and touches nothing it leads to',
    async name => {
      using box = makeBox()
      const outside = join(box.directory, 'outside')
      writeFileSync(outside, 'untouched')
      for (const target of [outside, '/etc', '../../../../../../etc', '/']) {
        rmSync(join(box.layer, name), { force: true })
        box.link(name, target)
        await expect(run(box, 'true')).rejects.toMatchObject({ step: 'mount' })
      }
      expect(readFileSync(outside, 'utf8')).toBe('untouched')
    },
  )

  test.each(standard)('refuses a file at /%s', async name => {
    using box = makeBox()
    box.write(name, '', 0o644)
    await expect(run(box, 'true')).rejects.toMatchObject({ step: 'mount' })
  })

  test('links at /etc/hosts and its like are followed inside the root only', async () => {
    using box = makeBox()
    const host = readFileSync('/etc/hostname', 'utf8')
    box.link('etc/hostname', '/../../../../etc/inner/name')
    box.link('etc/resolv.conf', '../run/missing/resolv.conf')
    const { stdout } = await run(box, 'cat /etc/inner/name; ls /run/missing', { dns: ['1.2.3.4'] })
    expect(stdout).toBe('box\nresolv.conf\n')
    expect(readFileSync('/etc/hostname', 'utf8')).toBe(host)
    expect((await run(box, 'ls /etc/inner /run')).stdout).not.toContain('missing/')
  })

  test('an image with its own /dev entries sees only ours', async () => {
    using box = makeBox()
    const { stdout: before } = await run(box, 'ls /dev')
    execFileSync('mkdir', [join(box.layer, 'dev')])
    box.link('dev/null', '/etc/passwd')
    box.link('dev/pts', '/etc')
    expect((await run(box, 'ls /dev; echo x > /dev/null; cat /etc/passwd')).stdout).toBe(
      `${before}root:x:0:0::/root:/bin/sh\n`,
    )
  })

  test('CVE-2021-30465, CVE-2024-45310: links that change under a mount reach nothing outside', async () => {
    using box = makeBox()
    const [volume, outside] = ['volume', 'outside'].map(name => join(box.directory, name))
    for (const path of [volume!, outside!]) mkdirSync(path)
    const swap = `cd "$1"; while :; do mkdir sub; rmdir sub; ln -s "$2" sub; rm sub; done 2>/dev/null`
    const swapper = spawn('/bin/busybox', ['sh', '-c', swap, 'sh', volume!, outside!])
    onTestFinished(() => void swapper.kill('SIGKILL'))
    const bind = (source: string, target: string) =>
      ({ kind: 'bind', source, target, readOnly: false, recursive: false }) as const
    const mounts = [bind(volume!, '/v'), bind(box.layer, '/v/sub/deep/inner')]
    for (let attempt = 0; attempt < 60; attempt++) {
      await run(box, 'true', { mounts }).catch(error => expect(error.step).toBe('mount'))
    }
    const ended = once(swapper, 'exit')
    swapper.kill('SIGKILL')
    await ended
    expect(readdirSync(outside!)).toEqual([])
  })

  // Built with sanitizers it needs libraries, which the image has not.
  const isStatic = process.env['TSBUILD_NATIVE'] === undefined
  test.runIf(isStatic)('CVE-2019-5736: /proc/self/exe as the program starts nothing', async () => {
    using box = makeBox()
    box.write('bin/script', '#!/proc/self/exe\n', 0o755)
    for (const program of ['/proc/self/exe', '/bin/script']) {
      const { code, stdout } = await run(box, '', { argv: [program] })
      expect([code, stdout]).toEqual([125, ''])
    }
  })
})

test('the table of capabilities has the numbers of capabilities(7)', () => {
  expect(
    ['CAP_CHOWN', 'CAP_SYS_ADMIN', 'CAP_CHECKPOINT_RESTORE'].map(name =>
      allCapabilities.indexOf(name),
    ),
  ).toEqual([0, 21, 40])
})
