import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseFlags } from '../../../src/cli/flags/flags.ts'
import { containerOptions } from '../../../src/cli/tsrun/options/container-options.ts'
import { formatPort } from '../../../src/cli/tsrun/options/publish-options.ts'
import { runFlags, unsupportedRunFlags } from '../../../src/cli/tsrun/options/run-flags.ts'

const grammar = {
  flags: runFlags,
  unsupported: unsupportedRunFlags,
  positionals: 'first-ends-flags',
} as const

function options(words: string[], environment: Record<string, string> = {}) {
  const { values, positionals } = parseFlags(grammar, [...words, 'image', 'cmd', '--flag'])
  expect(positionals[0]).toBe('image')
  return containerOptions(values, positionals.slice(1), name => environment[name])
}

describe('containerOptions()', () => {
  test('has docker’s defaults', async () => {
    expect(await options([])).toEqual({
      command: ['cmd', '--flag'],
      env: [],
      network: 'bridge',
      mounts: [],
      volumes: [],
      terminal: false,
      readOnly: false,
      security: {
        capAdd: [],
        capDrop: [],
        privileged: false,
        seccomp: 'default',
        noNewPrivileges: false,
      },
      limits: {},
      extraHosts: [],
      dns: [],
      shmSize: 64 * 1024 * 1024,
      extras: {
        devices: [],
        dnsOptions: [],
        dnsSearch: [],
        init: false,
        ports: [],
        resourceLimits: [],
        shared: [],
        sysctls: [],
      },
    })
  })

  test('passes variables on, files first', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cli-eng-env-'))
    try {
      const file = join(directory, 'env')
      await writeFile(file, '\ufeffA=file\r\n# comment\n\n  B=x # y\nPASSED\nABSENT\n')
      const { env } = await options(['-e', 'A=flag', '--env-file', file, '-eC', '-e', 'D='], {
        PASSED: 'yes',
        C: 'c',
      })
      expect(env).toEqual(['A=file', 'B=x # y', 'PASSED=yes', 'A=flag', 'C=c', 'D='])
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  test('reads volumes and tmpfs', async () => {
    const { mounts } = await options([
      ...['-v', '/a:/b', '-v', './rel:/c:ro', '-v', '/d:/e:rw,z'],
      ...['--tmpfs', '/run', '--tmpfs', '/tmp:size=64m,mode=755,noexec'],
    ])
    const bind = { kind: 'bind', recursive: true, readOnly: false }
    expect(mounts).toEqual([
      { ...bind, source: '/a', target: '/b' },
      { ...bind, source: resolve('rel'), target: '/c', readOnly: true },
      { ...bind, source: '/d', target: '/e' },
      { kind: 'tmpfs', target: '/run', mode: 0o1777 },
      { kind: 'tmpfs', target: '/tmp', mode: 0o755, size: 64 * 1024 * 1024 },
    ])
  })

  test('reads hosts, name servers, limits and security', async () => {
    expect(
      await options([
        ...['--add-host', 'db:10.0.0.1', '--add-host', 'v6=[::1]', '--dns', '1.1.1.1'],
        ...['-m', '64m', '--cpus', '0.5', '--pids-limit', '-1', '--shm-size', '1m'],
        ...['--security-opt', 'seccomp=unconfined', '--security-opt', 'no-new-privileges'],
        ...['--entrypoint', '', '-h', 'box', '-w', '/w', '--read-only', '--net', 'none'],
      ]),
    ).toMatchObject({
      extraHosts: [
        { name: 'db', address: '10.0.0.1' },
        { name: 'v6', address: '::1' },
      ],
      dns: ['1.1.1.1'],
      limits: { memory: 64 * 1024 * 1024, cpus: 0.5 },
      shmSize: 1024 * 1024,
      security: { seccomp: 'unconfined', noNewPrivileges: true },
      entrypoint: [],
      hostname: 'box',
      workingDirectory: '/w',
      readOnly: true,
      network: 'none',
    })
  })

  test('reads devices, process limits, kernel parameters, namespaces and the resolver', async () => {
    const { extras, mounts } = await options([
      ...['--device', '/dev/null:/dev/my/null:rw', '--device', '/dev/zero:r', '--init'],
      ...['--ulimit', 'nofile=10:20', '--ulimit', 'core=-1', '--ulimit', 'nproc=5'],
      ...['--sysctl', 'net.ipv4.ip_forward=1', '--sysctl', 'net.ipv4.x=9 8'],
      ...['--dns-search', 'a.example', '--dns-option', 'ndots:2', '--domainname', 'b.example'],
      ...['--ipc', 'host', '--oom-score-adj', '-5'],
    ])
    expect(extras).toEqual({
      devices: [
        { source: '/dev/null', target: '/dev/my/null', access: 'rw' },
        { source: '/dev/zero', target: '/dev/zero', access: 'r' },
      ],
      resourceLimits: [
        { name: 'nofile', soft: 10, hard: 20 },
        { name: 'core', soft: 'unlimited', hard: 'unlimited' },
        { name: 'nproc', soft: 5, hard: 5 },
      ],
      sysctls: [
        ['net.ipv4.ip_forward', '1'],
        ['net.ipv4.x', '9 8'],
      ],
      dnsSearch: ['a.example'],
      dnsOptions: ['ndots:2'],
      domainname: 'b.example',
      init: true,
      ports: [],
      shared: ['ipc'],
      oomScoreAdjustment: -5,
    })
    expect(mounts).toMatchObject([{ kind: 'bind', source: '/dev/shm', target: '/dev/shm' }])
  })

  test.each([
    [
      'type=bind,source=/srv,target=/data,readonly',
      { kind: 'bind', source: '/srv', target: '/data', readOnly: true, recursive: true },
    ],
    [
      'type=bind,src=/srv,dst=/data,ro=false,bind-recursive=disabled',
      { kind: 'bind', source: '/srv', target: '/data', readOnly: false, recursive: false },
    ],
    [
      'type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=700',
      { kind: 'tmpfs', target: '/t', size: 1024 * 1024, mode: 0o700 },
    ],
    ['type=tmpfs,target=/t', { kind: 'tmpfs', target: '/t', mode: 0o1777 }],
  ])('mounts "%s"', async (text, mount) => {
    expect((await options(['--mount', text])).mounts).toEqual([mount])
  })

  test.each([
    ['type=image,target=/d', 'unknown type "image"'],
    ['type=bind,source=rel,target=/d', 'the source must be an absolute path'],
    ['type=bind,source=/s,target=d', 'the target must be an absolute path'],
    ['type=bind,source=/s,target=/d,bind-propagation=shared', 'the propagation is always private'],
    ['type=bind,source=/s,target=/d,readonly=perhaps', 'readonly is true or false'],
    ['type=tmpfs,target=/d,source=/s', 'unknown option "source" of tmpfs'],
    ['type=tmpfs,target=/d,tmpfs-mode=9', 'tmpfs-mode is an octal number'],
  ])('does not mount "%s"', async (text, why) => {
    await expect(options(['--mount', text])).rejects.toThrow(`Cannot use mount "${text}": ${why}`)
  })

  test.each([
    ['80', ['0.0.0.0:0->80/tcp', '[::]:0->80/tcp']],
    ['8080:80', ['0.0.0.0:8080->80/tcp', '[::]:8080->80/tcp']],
    ['[::1]:8080:80', ['[::1]:8080->80/tcp']],
    ['[::]::80/udp', ['[::]:0->80/udp']],
    ['0.0.0.0:8080:80', ['0.0.0.0:8080->80/tcp']],
    ['127.0.0.1:8080:80/udp', ['127.0.0.1:8080->80/udp']],
    ['127.0.0.1::80', ['127.0.0.1:0->80/tcp']],
    ['0.0.0.0:1-2:3-4', ['0.0.0.0:1->3/tcp', '0.0.0.0:2->4/tcp']],
  ])('publishes "%s"', async (text, expected) => {
    const { extras } = await options(['-p', text])
    expect(extras.ports?.map(formatPort)).toEqual(expected)
  })

  test.each([
    ['8080:80/sctp', 'the protocol is tcp or udp'],
    ['[::x]:80:80', 'no IPv6 address'],
    ['[::1]', 'the address is no IPv4 address'],
    ['::1:80:80', 'expected [IP:]HOST:CONTAINER'],
    ['1.2.3.4:1:2:3', 'expected [IP:]HOST:CONTAINER'],
    ['1.2.3:80:80', 'no IPv4 address'],
    ['1-2:3', 'the ranges differ in length'],
    ['80:0', 'a container has no port 0'],
    ['80:70000', 'expected ports from 0 to 65535'],
    ['2-1', 'expected ports from 0 to 65535'],
    ['x', 'expected ports from 0 to 65535'],
    ['', 'expected ports from 0 to 65535'],
  ])('refuses to publish "%s"', async (text, message) => {
    await expect(options(['-p', text])).rejects.toThrow(message)
  })

  test('publishes nothing without a network of its own', async () => {
    await expect(options(['-p', '80', '--net', 'host'])).rejects.toThrow('Cannot publish ports')
    await expect(options(['-P', '--net', 'none'])).rejects.toThrow('Cannot publish ports')
  })

  test('reads limits as cgroups have them', async () => {
    const { limits } = await options([
      ...['-m', '64m', '--memory-swap', '100m', '--memory-reservation', '32m'],
      ...['-c', '512', '--cpuset-cpus', '0-1,3'],
    ])
    expect(limits).toEqual({
      memory: 64 << 20,
      memorySwap: 100 << 20,
      memoryReservation: 32 << 20,
      cpuShares: 512,
      cpuset: '0-1,3',
    })
    const unlimited = await options(['-m', '64m', '--memory-swap', '-1'])
    expect(unlimited.limits).toMatchObject({ memorySwap: 'unlimited' })
    expect((await options(['-m', '64m', '--memory-swap', '0'])).limits).toEqual({
      memory: 64 << 20,
    })
  })

  test('reads a seccomp profile', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cli-seccomp-'))
    try {
      const file = join(directory, 'profile.json')
      const rule = { names: ['chmod'], action: 'SCMP_ACT_ERRNO' }
      await writeFile(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }))
      const { security } = await options(['--security-opt', `seccomp=${file}`])
      expect(security.seccomp).toMatchObject({ otherwise: 0x7fff0000, architectures: [] })
      await writeFile(file, '{"defaultAction":"SCMP_ACT_DANCE"}')
      await expect(options(['--security-opt', `seccomp=${file}`])).rejects.toThrow(
        'Cannot parse seccomp profile: defaultAction: expected an action',
      )
    } finally {
      await rm(directory, { recursive: true })
    }
    await expect(options(['--security-opt', 'seccomp=/nothing'])).rejects.toThrow('ENOENT')
  })

  test.each([
    [['-v', '/a:b'], 'absolute path'],
    [['-v', '/a:/'], 'the target cannot be the root'],
    [['-v', '/a:/b:bogus'], 'unknown option "bogus"'],
    [['-v', '/a:/b:ro:x'], 'expected [SOURCE:]TARGET[:OPTIONS]'],
    [['--tmpfs', 'tmp'], 'absolute path'],
    [['--tmpfs', '/t:size=x'], 'Cannot use tmpfs "/t:size=x": expected a size'],
    [['--tmpfs', '/t:bogus=1'], 'unknown option "bogus=1"'],
    [['--add-host', 'db'], 'expected NAME:ADDRESS'],
    [['--add-host', 'db:nowhere'], 'expected NAME:ADDRESS'],
    [['--dns', 'x'], 'no IP address'],
    [['-h', 'a b'], 'Cannot use host name "a b"'],
    [['-e', '=x'], 'no valid name'],
    [['-m', '1m'], 'the least is 6m'],
    [['--cpus', '-1'], 'less than none'],
    [['--security-opt', 'apparmor=x'], 'not supported yet'],
    [['--memory-swap', '1g'], 'it takes --memory, too'],
    [['-m', '64m', '--memory-swap', '32m'], 'less than --memory'],
    [['-m', '64m', '--memory-swap', 'x'], 'Cannot use flag --memory-swap: expected a size'],
    [['-m', '64m', '--memory-reservation', '65m'], 'more than --memory'],
    [['--cpuset-cpus', '0-'], 'expected a list like 0-2,4'],
    [['--cpu-shares', '-1'], 'less than none'],
    [['--device', 'dev'], 'must be an absolute path'],
    [['--device', '/dev/null:/etc/x'], 'the target must be below /dev'],
    [['--device', '/dev/null:/dev/../etc/x'], 'the target must be below /dev'],
    [['--device', '/dev/null:rx'], 'some of r, w and m'],
    [['--device', '/dev/null:rr'], 'some of r, w and m'],
    [['--device', '/dev/nothing'], 'it is not there'],
    [['--ulimit', 'nofile'], 'expected NAME=SOFT[:HARD]'],
    [['--ulimit', 'nofiles=1'], 'Linux has no such limit'],
    [['--ulimit', 'nofile=2:1'], 'the soft limit is above the hard one'],
    [['--ulimit', 'nofile=x'], 'expected a whole number'],
    [['--sysctl', 'kernel.msgmax'], 'expected NAME=VALUE'],
    [['--sysctl', 'kernel.core_pattern=x'], 'kernel.core_pattern is not a container’s own'],
    [['--sysctl', 'vm/../kernel/x=1'], 'no name of a kernel parameter'],
    [['--net', 'host', '--sysctl', 'net.ipv4.ip_forward=1'], 'the network is the host’s'],
    [['--ipc', 'host', '--sysctl', 'kernel.sem=1'], 'the IPC namespace is the host’s'],
    [['--oom-score-adj', '1001'], 'from -1000 to 1000'],
    [['--uts', 'host', '-h', 'x'], 'Cannot use flag --uts host'],
    [['--dns-search', 'a b'], 'expected one word'],
    [['--dns-option', 'a\nnameserver 6.6.6.6'], 'expected one word'],
  ])('refuses %j', async (words, message) => {
    await expect(options(words)).rejects.toThrow(message)
  })

  test.each([
    [['--restart', 'always'], 'Flag --restart is not supported yet'],
    [['--restart', 'always'], 'Flag --restart is not supported yet'],
  ])('refuses %j by name', (words, message) => {
    expect(() => parseFlags(grammar, [...words, 'image'])).toThrow(message)
  })
})
