/** Which devices work inside: those of /dev, and those asked for. */
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  cgroupHierarchies,
  type Hierarchies,
} from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { defaultSecurity } from '../../src/layerfs/sandbox/defaults.ts'
import { defaultDeviceRules, deviceRuleLine } from '../../src/layerfs/sandbox/device-rules.ts'
import { expandDevice, hostDevices, numbersOf } from '../../src/layerfs/sandbox/devices.ts'
import { makeBox, missing, run } from './box.ts'

const machine = vi.hoisted(() => ({ hierarchies: undefined as Hierarchies | undefined }))
vi.mock('../../src/layerfs/sandbox/cgroup-hierarchies.ts', async load => {
  const real = await load<typeof import('../../src/layerfs/sandbox/cgroup-hierarchies.ts')>()
  return {
    ...real,
    cgroupHierarchies: () => machine.hierarchies ?? real.cgroupHierarchies(),
    usableHierarchies: () => machine.hierarchies ?? real.usableHierarchies(),
  }
})
afterEach(() => {
  machine.hierarchies = undefined
})

/** Nodes that somebody in the container makes: a disk, a loop device, the null device. */
const tryNodes = `
  cd /tmp
  busybox mknod loop b 7 0 && busybox mknod null c 1 3 && echo made
  dd if=loop bs=1 count=1 >/dev/null 2>&1 && echo disk
  echo x > null && echo null
  echo x > /dev/null && cat /dev/null && head -c 1 /dev/urandom | busybox wc -c
  (echo x > /dev/full) 2>/dev/null || echo full`

const real = cgroupHierarchies()

describe.skipIf(missing !== undefined)('devices', () => {
  const { v1, v2 } = real
  const { devices, ...others } = v1
  const ways: [string, Hierarchies, null: boolean][] = []
  if (devices !== undefined) ways.push(['version 1', { v1: { devices } }, true])
  if (v2 !== undefined) ways.push(['version 2', { v1: others, v2 }, true])
  ways.push(['no cgroups', { v1: {} }, false])

  test.each(ways)(
    'by %s: nodes can be made, but only those of /dev work',
    async (_, there, null_) => {
      machine.hierarchies = there
      using box = makeBox()
      const { stdout } = await run(box, tryNodes)
      expect(stdout).toBe(`made\n${null_ ? 'null\n' : ''}1\nfull\n`)
    },
  )

  test.each(ways)('by %s: one asked for works, under its new name', async (_, there) => {
    machine.hierarchies = there
    using box = makeBox()
    const wanted = { source: '/dev/zero', target: '/dev/my/zero', access: 'rwm' }
    const { stdout } = await run(
      box,
      'ls -l /dev/my; head -c 4 /dev/my/zero | busybox od -An -tx1',
      {
        devices: [wanted, { source: '/dev/loop0', target: '/dev/loop0', access: 'rwm' }],
      },
    )
    expect(stdout).toMatch(/^total 0\ncrw-rw-rw- .* 1, +5 .* zero\n 00 00 00 00\n$/)
    expect((await run(box, 'ls /dev/my')).stdout).toBe('')
  })

  test.each(ways.filter(([, , bounded]) => bounded))(
    'by %s: one asked for to be read cannot be written',
    async (_, there) => {
      machine.hierarchies = there
      using box = makeBox()
      const { stdout } = await run(
        box,
        'dd if=/dev/loop0 bs=1 count=0 2>/dev/null && echo read; (: >> /dev/loop0) 2>/dev/null && echo write',
        { devices: [{ source: '/dev/loop0', target: '/dev/loop0', access: 'r' }] },
      )
      expect(stdout).toBe('read\n')
    },
  )

  test('work all where none is bounded', async () => {
    using box = makeBox()
    const security = { ...defaultSecurity, devices: 'all' } as const
    expect((await run(box, tryNodes, { security })).stdout).toBe('made\ndisk\nnull\n1\nfull\n')
  })

  test('leave no cgroup but the shared one', async () => {
    const parents = [devices, v2].flatMap(path => (path === undefined ? [] : [path]))
    const left = () =>
      parents
        .flatMap(path => readdirSync(join(path, 'tsbuild'), { withFileTypes: true }))
        .filter(entry => entry.name.startsWith(`test-${process.pid}-`))
    for (const path of parents) mkdirSync(join(path, 'tsbuild'), { recursive: true })
    using box = makeBox()
    for (const [, there] of ways) {
      machine.hierarchies = there
      await run(box, 'true', {
        devices: [{ source: '/dev/loop0', target: '/dev/loop0', access: 'r' }],
      })
    }
    expect(left()).toEqual([])
  })

  test('that are none, or not there, are refused', async () => {
    using box = makeBox()
    const one = (source: string) => ({ devices: [{ source, target: '/dev/x', access: 'rwm' }] })
    await expect(run(box, 'true', one('/etc/passwd'))).rejects.toMatchObject({
      code: 'invalid',
      message: 'Cannot add device "/etc/passwd": it is none',
    })
    await expect(run(box, 'true', one('/dev/nothing'))).rejects.toMatchObject({ code: 'not-found' })
  })

  test('reach nothing of the image through its own /dev', async () => {
    using box = makeBox()
    mkdirSync(join(box.layer, 'dev'))
    box.link('dev/my', '/etc')
    const devices = [{ source: '/dev/zero', target: '/dev/my/zero', access: 'rwm' }]
    expect((await run(box, 'ls /etc', { devices })).stdout).not.toContain('zero')
    expect(readdirSync(join(box.layer, 'etc'))).toEqual(['passwd'])
  })
})

test('rules are written as version 1 has them', () => {
  expect(defaultDeviceRules.map(deviceRuleLine)).toEqual([
    'c *:* m',
    'b *:* m',
    ...['c 1:3', 'c 1:5', 'c 1:7', 'c 1:8', 'c 1:9', 'c 5:0', 'c 5:1', 'c 5:2', 'c 136:*'].map(
      rule => `${rule} rwm`,
    ),
  ])
})

test('expandDevice() finds the devices of a directory, hostDevices() none of a container’s own', () => {
  const all = hostDevices().map(({ target }) => target)
  expect(all).toContain('/dev/null')
  expect(all.filter(path => /^\/dev\/(pts|shm|console|ptmx)/.test(path))).toEqual([])
  const inside = expandDevice({ source: '/dev', target: '/dev/host', access: 'r' })
  expect(inside).toContainEqual({ source: '/dev/null', target: '/dev/host/null', access: 'r' })
})

test('numbersOf() has the numbers of makedev(3)', () => {
  expect(numbersOf(statSync('/dev/null', { bigint: true }).rdev)).toEqual({ major: 1, minor: 3 })
  const packed = (0x1234n << 8n) & 0xfff00n
  expect(numbersOf(packed)).toEqual({ major: 0x234, minor: 0 })
})
