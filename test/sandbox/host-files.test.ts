import { describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { hostsFile, resolvConf } from '../../src/layerfs/sandbox/host-files.ts'
import { RecordReader } from '../../src/layerfs/sandbox/records.ts'

function host(files: Record<string, string>) {
  return (path: string) => files[path] ?? ''
}

const resolved = '/run/systemd/resolve/resolv.conf'

describe('resolvConf()', () => {
  const own = { network: 'bridge', dns: [] } as const

  test('is the host’s', () => {
    const text = '# mine\nsearch example.org\nnameserver 10.0.0.1\noptions ndots:2\n'
    expect(resolvConf(own, host({ '/etc/resolv.conf': text }))).toBe(
      'nameserver 10.0.0.1\n# mine\nsearch example.org\noptions ndots:2\n',
    )
  })

  test('has the servers behind systemd-resolved instead of its loopback address', () => {
    const files = {
      '/etc/resolv.conf': 'nameserver 127.0.0.53\noptions edns0\n',
      [resolved]: 'nameserver 192.168.1.1\nsearch lan\n',
    }
    expect(resolvConf(own, host(files))).toBe('nameserver 192.168.1.1\nsearch lan\n')
    expect(resolvConf({ network: 'host', dns: [] }, host(files))).toBe(files['/etc/resolv.conf'])
  })

  test('has public servers when all others are on the loopback or there are none', () => {
    const expected = 'nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch lan\n'
    const text = 'search lan\nnameserver 127.0.0.1\nnameserver ::1\n'
    expect(resolvConf(own, host({ '/etc/resolv.conf': text }))).toBe(expected)
    expect(resolvConf(own, host({}))).toBe('nameserver 8.8.8.8\nnameserver 8.8.4.4\n')
  })

  test('has the servers asked for, whatever the network', () => {
    const read = host({ '/etc/resolv.conf': 'nameserver 10.0.0.1\nsearch lan\n' })
    const dns = ['9.9.9.9']
    expect(resolvConf({ network: 'host', dns }, read)).toBe('nameserver 9.9.9.9\nsearch lan\n')
  })
})

describe('hostsFile()', () => {
  test('names localhost, then the extra hosts in order', () => {
    const extraHosts = [
      { name: 'db', address: '10.1.1.1' },
      { name: 'six', address: 'fd00::1' },
    ]
    const text = hostsFile({ hostname: 'box', extraHosts, network: 'bridge' })
    expect(text).toMatch(/^127\.0\.0\.1\tlocalhost\n::1\tlocalhost ip6-localhost/)
    expect(text).toMatch(/10\.1\.1\.1\tdb\nfd00::1\tsix\n$/)
    expect(text).not.toContain('box')
  })
})

describe('cgroupHierarchies()', () => {
  test('finds version 1 controllers, also shared and in odd places', () => {
    const mounts = [
      '33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct',
      '35 31 0:32 / /sys/fs/my\\040cgroup/memory rw - cgroup cgroup rw,memory',
      '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    ].join('\n')
    expect(cgroupHierarchies(mounts)).toMatchObject({
      v2: '/sys/fs/cgroup/unified',
      v1: { cpu: '/sys/fs/cgroup/cpu,cpuacct', memory: '/sys/fs/my cgroup/memory' },
    })
  })

  test('finds version 2 alone, and nothing', () => {
    const line = '41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate'
    expect(cgroupHierarchies(line)).toEqual({ v2: '/sys/fs/cgroup', v1: {} })
    expect(cgroupHierarchies('')).toEqual({ v1: {} })
  })
})

describe('RecordReader', () => {
  function record(...words: string[]): Buffer {
    const bytes = Buffer.from(words.join('\0'))
    return Buffer.concat([Buffer.from(Uint32Array.of(bytes.length).buffer), bytes])
  }

  test('puts records together from any pieces', () => {
    const bytes = Buffer.concat([record('started', '42'), record('error', 'mount', '2', '/ä\n')])
    const reader = new RecordReader()
    const records = [...bytes].flatMap(byte => reader.push(Uint8Array.of(byte)))
    expect(records).toEqual([
      { kind: 'started', pid: 42 },
      { kind: 'error', step: 'mount', errno: 2, detail: '/ä\n' },
    ])
  })

  test('gives several of one piece', () => {
    const bytes = Buffer.concat([record('started', '1'), record('exit', '137', '9')])
    expect(new RecordReader().push(bytes)).toEqual([
      { kind: 'started', pid: 1 },
      { kind: 'exit', code: 137, signal: 9 },
    ])
  })
})
