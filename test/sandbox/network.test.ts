import { spawnSync } from 'node:child_process'
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { makeBox, missing, run, specFor } from './box.ts'

describe.skipIf(missing !== undefined)('the network', () => {
  test('none has a loopback device that works, and the host name in /etc/hosts', async () => {
    using box = makeBox()
    const { stdout } = await run(
      box,
      'ping -c 1 -w 2 127.0.0.1 | grep -c "1 packets received"; ping -c 1 -w 2 box | grep -c "1 packets received"',
    )
    expect(stdout).toBe('1\n1\n')
  })

  test('none lets every user listen on any port and send pings', async () => {
    using box = makeBox()
    const user = { uid: 1000, gid: 1000, groups: [] }
    const { stdout } = await run(
      box,
      'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range',
      { user },
    )
    expect(stdout).toBe('0\n0\t2147483647\n')
  })

  test('host is the caller’s own, with its hosts and its settings', async () => {
    using box = makeBox()
    const { stdout } = await run(box, 'readlink /proc/self/ns/net; cat /etc/hosts', {
      network: 'host',
      extraHosts: [{ name: 'db', address: '10.9.8.7' }],
    })
    const hosts = readFileSync('/etc/hosts', 'utf8')
    expect(stdout).toBe(`${readlinkSync('/proc/self/ns/net')}\n${hosts}10.9.8.7\tdb\n`)
  })

  test('every other namespace is the container’s own, whatever the network', async () => {
    using box = makeBox()
    const names = ['cgroup', 'ipc', 'mnt', 'pid', 'uts']
    const { stdout } = await run(
      box,
      names.map(name => `readlink /proc/self/ns/${name}`).join(';'),
      {
        network: 'host',
      },
    )
    const outside = names.map(name => readlinkSync(`/proc/self/ns/${name}`))
    const inside = stdout.trim().split('\n')
    expect(inside).toHaveLength(names.length)
    expect(inside.filter(link => outside.includes(link))).toEqual([])
  })
})

describe.skipIf(missing !== undefined)('the bridge network', () => {
  let compiled: Compiled
  beforeAll(() => {
    compiled = compileSources()
  }, 60_000)
  afterAll(() => compiled[Symbol.dispose]())

  test('gives an address, names it in /etc/hosts and tells it when the program starts', () => {
    using box = makeBox()
    const bridge = {
      name: 'sandboxtest0',
      subnet: '10.77.0.0/24',
      lockDirectory: join(box.directory, 'locks'),
    }
    const script =
      'ip -o -4 addr show eth0; grep "\tbox$" /etc/hosts; ping -c 1 -w 2 10.77.0.1 | grep received'
    const spec = specFor(box, {
      argv: ['sh', '-c', script],
      network: 'bridge',
      bridge,
      dns: ['10.77.0.1'],
    })
    const program = join(box.directory, 'program.mjs')
    writeFileSync(
      program,
      `import { runSandbox } from ${JSON.stringify(join(compiled.dist, 'layerfs/sandbox/run.js'))}
       await runSandbox(${JSON.stringify(spec)}, {
         stdin: 'null', output: 'inherit', stubs: ${JSON.stringify(box.stubs)}, id: 'bridge',
         onStarted: handle => console.error(handle.address),
       })`,
    )
    // In a network namespace of its own: this machine's devices and rules stay as they are.
    const { stdout, stderr } = spawnSync('unshare', ['--net', process.execPath, program], {
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect(stderr.trim()).toBe('10.77.0.2')
    expect(stdout).toMatch(/eth0 +inet 10\.77\.0\.2\/24/)
    expect(stdout).toContain('10.77.0.2\tbox\n')
    expect(stdout).toContain('1 packets received')
  })

  test('an attachment that fails names its step and leaves no process', async () => {
    using box = makeBox()
    const bridge = { name: 'not a name!', subnet: '10.77.0.0/24', lockDirectory: box.directory }
    await expect(run(box, 'sleep 100', { network: 'bridge', bridge })).rejects.toMatchObject({
      step: 'attach the network',
    })
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.directory)
  })
})

describe.skipIf(missing !== undefined)('an older kernel', () => {
  test('has the layers by one list of descriptors (450 of them)', async () => {
    using box = makeBox()
    const lower = [...box.manyLayers(450), box.layer]
    const root = { kind: 'overlay', lower, upper: box.upper, work: box.work } as const
    const script = 'ls /layers | grep -c .; echo a > /b; grep -c ",lowerdir=" /proc/mounts'
    const { stdout } = await run(box, script, { root, io: { overlay: 'classic' } })
    expect(stdout).toBe('450\n1\n')
  })
})
