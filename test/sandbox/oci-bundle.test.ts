/** What config.json of a bundle says, seen from inside; and what is wrong with it, by field. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync as readlink,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { deleteContainer } from '../../src/layerfs/oci-runtime/lifecycle.ts'
import { readState } from '../../src/layerfs/oci-runtime/state.ts'
import { updateContainer } from '../../src/layerfs/oci-runtime/update.ts'
import { missing } from './box.ts'
import { type Bundles, type Config, makeBundles } from './bundle.ts'

const forever = (config: Config) => {
  config.process.args = ['sleep', '1000']
}

describe.skipIf(missing !== undefined)('a bundle', () => {
  let bundles: Bundles
  beforeAll(() => {
    bundles = makeBundles()
  })
  afterAll(async () => {
    await bundles[Symbol.asyncDispose]()
  })

  const started = async (id: string, change: (config: Config) => void) => {
    const pid = await bundles.create(id, bundles.write(change))
    await bundles.start(id)
    return pid
  }
  const remove = (id: string) => deleteContainer(bundles.root, id, { force: true })
  const fails = async (change: (config: Config) => void) => {
    await expect(bundles.create('failing', bundles.write(change))).rejects.toThrow()
    expect(existsSync(join(bundles.root, 'failing'))).toBe(false)
    const error: unknown = await bundles.create('failing', bundles.write(change)).catch(e => e)
    return (error as Error).message
  }

  describe('runs its process', () => {
    test('as user, with groups, umask, directory, environment, limits and capabilities', async () => {
      await bundles.run(
        'cd /out; { id -u; id -g; cat /proc/self/status; pwd; env; ulimit -n; } > /out/process; touch /out/mask',
        config => {
          config.process.user = { uid: 1000, gid: 1001, additionalGids: [5, 6], umask: 0o077 }
          config.process['cwd'] = '/tmp'
          config.process['env'] = [...(config.process['env'] as string[]), 'A=b c']
          config.process['rlimits'] = [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }]
          const set = ['CAP_NET_BIND_SERVICE', 'CAP_OF_A_NEWER_KERNEL']
          config.process['capabilities'] = {
            bounding: ['CAP_CHOWN', ...set],
            permitted: set,
            effective: set,
            inheritable: set,
            ambient: set,
          }
          config.process['noNewPrivileges'] = true
        },
      )
      const seen = bundles.read('process')
      expect(seen).toMatch(/^1000\n1001\n/)
      expect(seen).toMatch(/^Groups:\t5 6 $/m)
      expect(seen).toMatch(/^NoNewPrivs:\t1$/m)
      for (const name of ['Inh', 'Prm', 'Eff', 'Amb']) {
        expect(seen).toMatch(new RegExp(`^Cap${name}:\\t0{13}400$`, 'm'))
      }
      expect(seen).toMatch(/^CapBnd:\t0{13}401$/m)
      expect(seen).toContain('A=b c\n')
      expect(seen).toContain('\n100\n')
    })

    test('with no descriptor but 0 to 2, and with those it was to get', async () => {
      await bundles.run('ls /proc/self/fd > /out/fds')
      // The third is of the listing.
      expect(bundles.read('fds').trim().split('\n')).toEqual(['0', '1', '2', '3'])
    })

    test('in a user and a time namespace of its own', async () => {
      await bundles.run(
        'cat /proc/self/uid_map > /out/map; cut -d" " -f1 /proc/uptime > /out/up',
        config => {
          config.linux.namespaces.push({ type: 'user' }, { type: 'time' })
          const mapping = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
          Object.assign(config.linux, {
            uidMappings: mapping,
            gidMappings: mapping,
            timeOffsets: { boottime: { secs: 10_000_000 } },
          })
        },
      )
      expect(bundles.read('map').trim().split(/\s+/)).toEqual(['0', '100000', '65536'])
      expect(Number(bundles.read('up'))).toBeGreaterThan(10_000_000)
    })

    test('in the namespaces of another', async () => {
      const pid = await started('pod', forever)
      await bundles.run('hostname > /out/name; readlink /proc/self/ns/net > /out/net', config => {
        delete (config as Record<string, unknown>)['hostname']
        config.linux.namespaces = [
          { type: 'mount' },
          ...['network', 'uts', 'ipc', 'pid'].map(type => ({
            type,
            path: `/proc/${pid}/ns/${type === 'network' ? 'net' : type}`,
          })),
        ]
      })
      expect(bundles.read('name')).toBe('bundle\n')
      expect(bundles.read('net')).toBe(`${readlink(`/proc/${pid}/ns/net`)}\n`)
      await remove('pod')
    })

    test('with what is hidden, sysctls and devices as they are listed', async () => {
      await bundles.run(
        [
          '{ wc -c < /etc/hidden; touch /tmp/x || echo read-only; cat /proc/sys/net/ipv4/ip_forward',
          'ls -l /dev/mine; head -c1 /dev/mine && echo read; ls /proc/kcore; } > /out/hidden 2>&1',
        ].join('\n'),
        config => {
          writeFileSync(join(bundles.box.layer, 'etc/hidden'), 'secret')
          Object.assign(config.linux, {
            maskedPaths: ['/etc/hidden', '/proc/kcore', '/no/such/thing'],
            readonlyPaths: ['/tmp'],
            sysctl: { 'net.ipv4.ip_forward': '1' },
            devices: [
              { path: '/dev/mine', type: 'c', major: 1, minor: 5, fileMode: 0o600, uid: 7, gid: 8 },
            ],
          })
        },
      )
      expect(bundles.read('hidden')).toMatch(/^0\n.*\nread-only\n1\ncrw------- .* 7 .* 8 /)
      expect(bundles.read('hidden')).toContain('read\n')
    })

    test('under its own seccomp profile', async () => {
      await bundles.run('mkdir /tmp/made 2> /out/seccomp', config => {
        Object.assign(config.linux, {
          seccomp: {
            defaultAction: 'SCMP_ACT_ALLOW',
            syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 122 }],
          },
        })
      })
      expect(bundles.read('seccomp')).toContain('quota exceeded')
    })

    test('with limits, which can be changed while it runs', async () => {
      await started('limits', config => {
        forever(config)
        Object.assign(config.linux, {
          cgroupsPath: '/tsrun-oci-test/limits',
          resources: { memory: { limit: 64 << 20 }, pids: { limit: 20 } },
        })
      })
      const { unified = '', classic } = readState(bundles.root, 'limits').cgroup
      const memory = () =>
        readFileSync(
          classic['memory'] === undefined
            ? join(unified, 'memory.max')
            : join(classic['memory'], 'memory.limit_in_bytes'),
          'utf8',
        ).trim()
      expect(memory()).toBe(String(64 << 20))
      updateContainer(bundles.root, 'limits', Buffer.from('{"memory":{"limit":134217728}}'))
      expect(memory()).toBe(String(128 << 20))
      await remove('limits')
    })
  })

  describe('mounts', () => {
    test('anything, with its options, in order', async () => {
      await bundles.run('cat /proc/self/mountinfo > /out/mounts; ls /full > /out/full', config => {
        mkdirSync(join(bundles.box.layer, 'full'), { recursive: true })
        writeFileSync(join(bundles.box.layer, 'full/there'), '')
        const source = '/tmp'
        config.mounts.push(
          {
            destination: '/m/ro',
            type: 'bind',
            source,
            options: ['rbind', 'ro', 'nosuid', 'noexec'],
          },
          { destination: '/m/slave', type: 'none', source, options: ['bind', 'rslave', 'nodev'] },
          { destination: '/m/tmp', type: 'tmpfs', source: 'x', options: ['size=1m', 'noatime'] },
          { destination: '/full', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'ro'] },
        )
      })
      const mounts = bundles.read('mounts')
      expect(mounts).toMatch(/ \/m\/ro ro,nosuid,noexec/)
      expect(mounts).toMatch(/ \/m\/slave rw,nodev/)
      expect(mounts).toMatch(/ \/m\/tmp rw,noatime .*size=1024k/)
      expect(mounts).toMatch(/ \/full ro,/)
      expect(bundles.read('full')).toBe('there\n')
      rmSync(join(bundles.box.layer, 'm'), { recursive: true, force: true })
    })

    test('nothing through a link that leads out of its root', async () => {
      const outside = join(bundles.directory, 'outside')
      mkdirSync(outside)
      bundles.box.link('escape', outside)
      await bundles.run('ls -d /escape/in > /out/escape', config => {
        config.mounts.push({ destination: '/escape/in', type: 'tmpfs', source: 'tmpfs' })
      })
      expect(readdirSync(outside)).toEqual([])
      expect(existsSync(join(bundles.box.layer, outside, 'in'))).toBe(true)
    })

    test('nothing on /proc but what lxcfs shows there', async () => {
      const message = await fails(config => {
        config.mounts.push({ destination: '/proc/1', type: 'tmpfs', source: 'tmpfs' })
      })
      expect(message).toContain('Cannot mount "/proc/1"')
      writeFileSync(join(bundles.directory, 'uptime'), 'covered\n')
      await bundles.run('cat /proc/uptime > /out/covered', config => {
        const source = join(bundles.directory, 'uptime')
        config.mounts.push({ destination: '/proc/uptime', type: 'bind', source, options: ['bind'] })
      })
      expect(bundles.read('covered')).toBe('covered\n')
    })

    test('no root over a /dev or /proc that is a link (CVE-2019-19921)', async () => {
      const rootfs = join(bundles.directory, 'linked')
      mkdirSync(join(rootfs, 'elsewhere'), { recursive: true })
      symlinkSync('elsewhere', join(rootfs, 'proc'))
      const message = await fails(config => {
        config.root['path'] = rootfs
      })
      expect(message).toContain('Cannot mount "/proc"')
    })
  })

  describe('is refused when', () => {
    const at = (path: string, value: unknown) => (config: Config) => {
      const keys = path.split('.')
      const last = keys.pop() ?? ''
      const place = keys.reduce(
        (node, key) => node[key] as Record<string, unknown>,
        config as Record<string, unknown>,
      )
      place[last] = value
    }

    test.each([
      ['process.args', [], 'process.args: expected at least one word'],
      ['process.cwd', 'tmp', 'process.cwd: expected an absolute path'],
      ['process.user', { uid: -1 }, 'process.user.uid: expected an id'],
      ['process.rlimits', [{ type: 'RLIMIT_X' }], 'process.rlimits[0].type: expected a limit'],
      ['process.terminal', true, 'process.terminal needs --console-socket'],
      ['process.args', ['no-such-program'], 'executable file not found in $PATH'],
      ['process.args', ['/etc/passwd'], 'permission denied'],
      ['ociVersion', '2.0.0', 'ociVersion: expected version 1.x'],
      ['root.path', 'no-such-directory', 'root.path: no directory'],
      [
        'hooks',
        { prestart: [{ path: 'sh' }] },
        'hooks.prestart[0].path: expected an absolute path',
      ],
      ['linux.namespaces', [], 'needs a mount namespace of its own'],
      [
        'linux.namespaces',
        [{ type: 'mount' }, { type: 'uts' }, { type: 'pid' }, { type: 'pid' }],
        'linux.namespaces[3].type: expected each namespace once',
      ],
      [
        'linux.namespaces',
        [{ type: 'mount' }, { type: 'uts' }, { type: 'network', path: '/proc/self/ns/ipc' }],
        'Cannot join a namespace "network"',
      ],
      [
        'linux.devices',
        [{ path: '/dev/null', type: 'c', major: 1, minor: 9 }],
        'Cannot make a device "null"',
      ],
      ['linux.namespaces', [{ type: 'x' }], 'linux.namespaces[0].type: expected one of'],
      ['linux.uidMappings', [{ containerID: 0, hostID: 0, size: 1 }], 'mappings of ids need'],
      ['linux.cgroupsPath', 'a.slice:b:c', 'asks systemd for a cgroup'],
      ['linux.intelRdt', { closID: 'x' }, 'linux.intelRdt is not supported'],
      ['linux.rootfsPropagation', 'odd', 'linux.rootfsPropagation: expected one of'],
      ['linux.seccomp', { defaultAction: 'SCMP_ACT_X' }, 'linux.seccomp.defaultAction: expected'],
      ['linux.sysctl', { 'kernel.no_such': '1' }, 'Cannot set a sysctl "sys/kernel/no_such"'],
      [
        'mounts',
        [{ destination: '/x', type: 'nofs' }],
        'Cannot mount a file system of type "nofs"',
      ],
      ['mounts', [{ destination: '/', type: 'tmpfs' }], 'mounts[0].destination is the root'],
      [
        'mounts',
        [{ destination: '/x', type: 'bind', source: '/no/such', options: ['bind'] }],
        'Cannot open the source of a mount "/no/such"',
      ],
      [
        'linux.resources',
        { devices: [{ allow: true }, { allow: false, type: 'c', major: 1 }] },
        'linux.resources.devices[1]: denying some devices',
      ],
    ])('%s is %j', async (path, value, expected) => {
      expect(await fails(at(path, value))).toContain(expected)
    })

    test('its config.json is no JSON, no file or not there', async () => {
      const bundle = join(bundles.directory, 'broken')
      mkdirSync(bundle)
      await expect(bundles.create('broken', bundle)).rejects.toThrow('no such file')
      writeFileSync(join(bundle, 'config.json'), '{')
      await expect(bundles.create('broken', bundle)).rejects.toThrow('not valid UTF-8 JSON')
      rmSync(join(bundle, 'config.json'))
      mkdirSync(join(bundle, 'config.json'))
      await expect(bundles.create('broken', bundle)).rejects.toThrow('is no file')
    })
  })
})
