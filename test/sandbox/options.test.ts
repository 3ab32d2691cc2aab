/** What `tsrun run` can ask of the sandbox beyond the defaults, seen from inside. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname, release } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createCgroup } from '../../src/layerfs/sandbox/cgroup.ts'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { defaultSecurity } from '../../src/layerfs/sandbox/defaults.ts'
import { compileSeccomp } from '../../src/layerfs/sandbox/seccomp/compile.ts'
import { parseSeccompProfile } from '../../src/layerfs/sandbox/seccomp/profile.ts'
import { makeBox, missing, run } from './box.ts'

const status = readFileSync('/proc/self/status', 'utf8')
const effective = BigInt(`0x${/^CapEff:\t(\w+)$/m.exec(status)?.[1] ?? '0'}`)
const hasResourceRight = (effective & (1n << 24n)) !== 0n

describe.skipIf(missing !== undefined)('resource limits', () => {
  test('are those asked for', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'grep -E "open files|core file" /proc/self/limits', {
      resourceLimits: [
        { name: 'nofile', soft: 100, hard: 200 },
        { name: 'core', soft: 0, hard: 0 },
      ],
    })
    expect(stdout).toMatch(/Max core file size +0 +0 /)
    expect(stdout).toMatch(/Max open files +100 +200 /)
  })

  test.skipIf(hasResourceRight)('raised without the right: a sentence names it', async () => {
    using box = makeBox()
    const limit = { name: 'nofile', soft: 1_000_000_000, hard: 1_000_000_000 }
    await expect(run(box, 'true', { resourceLimits: [limit] })).rejects.toMatchObject({
      message: 'Cannot set a resource limit "nofile": operation not permitted (EPERM)',
      hint: 'Raising a hard limit takes CAP_SYS_RESOURCE, which this process does not have',
    })
  })

  test('the score for the out-of-memory killer', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'cat /proc/self/oom_score_adj', { oomScoreAdjustment: 500 })
    expect(stdout).toBe('500\n')
    if (hasResourceRight) return
    await expect(run(box, 'true', { oomScoreAdjustment: -500 })).rejects.toMatchObject({
      step: 'set the out-of-memory score',
      hint: expect.stringContaining('CAP_SYS_RESOURCE'),
    })
  })
})

describe.skipIf(missing !== undefined)('kernel parameters', () => {
  test('of the container alone are set', async () => {
    using box = makeBox()
    const before = readFileSync('/proc/sys/kernel/msgmax', 'utf8')
    const { stdout } = await run(
      box,
      'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; cat /proc/sys/fs/mqueue/msg_max',
      {
        sysctls: [
          ['net.ipv4.ip_forward', '1'],
          ['kernel.msgmax', '4000'],
          ['fs/mqueue/msg_max', '7'],
        ],
      },
    )
    expect(stdout).toBe('1\n4000\n7\n')
    expect(readFileSync('/proc/sys/kernel/msgmax', 'utf8')).toBe(before)
  })

  test('that the kernel lacks, or with a value it refuses, are an error', async () => {
    using box = makeBox()
    await expect(run(box, 'true', { sysctls: [['net.no.such', '1']] })).rejects.toMatchObject({
      message: 'Cannot set a sysctl "sys/net/no/such": no such file or directory (ENOENT)',
    })
    await expect(run(box, 'true', { sysctls: [['kernel.msgmax', 'many']] })).rejects.toMatchObject({
      step: 'set a sysctl',
    })
  })
})

describe.skipIf(missing !== undefined)('namespaces', () => {
  const links = 'for n in uts ipc time net pid mnt; do readlink /proc/self/ns/$n; done'

  test('are all the container’s own, the one of time among them', async () => {
    using box = makeBox()
    const { stdout } = await run(box, links)
    for (const line of stdout.trim().split('\n')) {
      const name = line.split(':')[0] ?? ''
      expect(line).not.toBe(readlinkSync(`/proc/self/ns/${name}`))
    }
  })

  test('are the host’s where asked for: its name and its message queues', async () => {
    using box = makeBox()
    const { stdout } = await run(box, `${links} | head -2; hostname`, { shared: ['ipc', 'uts'] })
    expect(stdout).toBe(
      `${readlinkSync('/proc/self/ns/uts')}\n${readlinkSync('/proc/self/ns/ipc')}\n${hostname()}\n`,
    )
  })

  test('the domain name is set, and in /etc/hosts', async () => {
    using box = makeBox()
    const script = 'cat /proc/sys/kernel/domainname /etc/hosts'
    const { stdout } = await run(box, script, { domainname: 'inner.example' })
    expect(stdout).toMatch(/^inner.example\n/)
    expect(stdout).toContain('127.0.1.1\tbox.inner.example box\n')
  })
})

describe.skipIf(missing !== undefined)('an init', () => {
  test('reaps, and ends as the program did', async () => {
    using box = makeBox()
    const orphans = '(sleep 0.1 & ) ; sleep 0.5; ls /proc | grep -c "^[0-9]*$"'
    const { stdout } = await run(box, orphans, { init: true })
    // The init, the shell, ls and grep: no zombie.
    expect(stdout).toBe('4\n')
    expect(await run(box, 'exit 7', { init: true })).toMatchObject({ code: 7 })
    expect(await run(box, 'kill -9 $$', { init: true })).toMatchObject({ code: 137 })
    expect(await run(box, '', { init: true, argv: ['true'] })).toMatchObject({ code: 0 })
  })

  test('hands signals on, also those with a default action', async () => {
    using box = makeBox()
    const io = { onStarted: (handle: { kill(signal: number): void }) => handle.kill(15) }
    const ended = await run(box, '', { init: true, argv: ['sleep', '30'], io })
    expect(ended).toMatchObject({ code: 143 })
  })

  test('a program that is not there is still told from one that failed', async () => {
    using box = makeBox()
    await expect(run(box, '', { init: true, argv: ['nothing'] })).rejects.toMatchObject({
      exitCode: 127,
    })
  })

  test('shows nothing of our program: not its file, and no descriptor but 0 to 2', async () => {
    using box = makeBox()
    const script = 'readlink /proc/1/exe; ls /proc/1/fd; cat /proc/1/maps; cat /proc/1/environ'
    const { stdout } = await run(box, script, { init: true })
    expect(stdout).toBe('0\n1\n2\n')
  })
})

describe.skipIf(missing !== undefined)('limits of cgroups', () => {
  const hierarchies = cgroupHierarchies()

  test('swap, reservation, shares and a set of CPUs reach their files', () => {
    const limits = {
      memory: 64 << 20,
      memorySwap: 96 << 20,
      memoryReservation: 32 << 20,
      cpuShares: 512,
      cpuset: '0',
    } as const
    using cgroup = createCgroup(`limits-${process.pid}`, { limits, devices: 'all' })
    expect(cgroup.procs.length).toBeGreaterThan(0)
    const { memory, cpuset } = hierarchies.v1
    const read = (controller: string, file: string) => {
      const procs = cgroup.procs.find(path => path.startsWith(`${controller}/`)) ?? ''
      return readFileSync(procs.replace('cgroup.procs', file), 'utf8').trim()
    }
    if (memory !== undefined) {
      expect(read(memory, 'memory.soft_limit_in_bytes')).toBe(String(32 << 20))
      expect(read(memory, 'memory.memsw.limit_in_bytes')).toBe(String(96 << 20))
    }
    if (cpuset !== undefined) expect(read(cpuset, 'cpuset.cpus')).toBe('0')
  })

  const [disk] = existsSync('/sys/block') ? readdirSync('/sys/block') : []
  const hasIo = disk !== undefined && hierarchies.v1['blkio'] !== undefined
  test.runIf(hasIo)('I/O rates reach the file of their disk; what a kernel lacks is named', () => {
    const numbers = readFileSync(`/sys/block/${disk}/dev`, 'utf8').trim()
    const [major = 0, minor = 0] = numbers.split(':').map(Number)
    const ioRates = [{ kind: 'write-bps', major, minor, rate: 1 << 20 }] as const
    using cgroup = createCgroup(`io-${process.pid}`, { limits: { ioRates }, devices: 'all' })
    const [directory = ''] = cgroup.directories
    const file = join(directory, 'blkio.throttle.write_bps_device')
    expect(readFileSync(file, 'utf8')).toBe(`${numbers} ${1 << 20}\n`)
    if (existsSync(join(directory, 'blkio.weight'))) return
    expect(() =>
      createCgroup(`io-${process.pid}-2`, { limits: { ioWeight: 300 }, devices: 'all' }),
    ).toThrow('Cannot limit the I/O weight: this kernel has no "blkio.weight"')
  })

  test('that cannot be set are errors that name them, and leave nothing', () => {
    const make = (limits: object, there = hierarchies) =>
      createCgroup(`limits-${process.pid}`, { limits, devices: 'all' }, there)
    expect(() => make({ cpuset: '999' })).toThrow('Cannot limit the set of CPUs: ')
    expect(() => make({ memory: 1 << 30, memorySwap: 1 << 20 })).toThrow(
      'Cannot limit memory and swap: ',
    )
    expect(() => make({ memory: 1 << 30, memorySwap: 2 ** 31 }, { v1: {} })).toThrow(
      'Cannot limit memory, memory and swap: no cgroup controller "memory"',
    )
  })

  test('a set of CPUs holds', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'grep Cpus_allowed_list /proc/self/status', {
      limits: { cpuset: '0' },
    })
    expect(stdout).toBe('Cpus_allowed_list:\t0\n')
  })
})

describe.skipIf(missing !== undefined)('a filter of system calls of one’s own', () => {
  const around = {
    capabilities: defaultSecurity.capabilities,
    machine: process.arch,
    kernel: release(),
  }
  const filter = (profile: object) =>
    compileSeccomp(parseSeccompProfile(Buffer.from(JSON.stringify(profile))), around)

  test('is what the kernel follows', async () => {
    using box = makeBox()
    const seccomp = filter({
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        { names: ['chmod', 'fchmodat', 'fchmodat2'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
        {
          names: ['kill'],
          action: 'SCMP_ACT_ERRNO',
          args: [{ index: 1, value: 10, op: 'SCMP_CMP_EQ' }],
        },
      ],
    })
    const security = { ...defaultSecurity, seccomp }
    const script =
      'chmod 1 /bin; sleep 5 & kill -10 $!; kill -9 $! && echo killed; grep Seccomp: /proc/self/status'
    const { stdout, stderr } = await run(box, script, { security })
    expect(stderr).toContain('Permission denied')
    expect(stderr).toContain("can't kill pid")
    expect(stdout).toBe('killed\nSeccomp:\t2\n')
  })

  test('that the kernel would not take is an error, and nothing runs', async () => {
    using box = makeBox()
    const security = { ...defaultSecurity, seccomp: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }
    await expect(run(box, 'true', { security })).rejects.toMatchObject({
      step: 'load the system call filter',
    })
  })
})
