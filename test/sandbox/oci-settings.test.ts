/** What a bundle says of scheduling, of whose ids a mount shows, and each option of mounts that runtimes must have. */
import { chownSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { execInContainer } from '../../src/layerfs/oci-runtime/exec.ts'
import { deleteContainer } from '../../src/layerfs/oci-runtime/lifecycle.ts'
import { missing } from './box.ts'
import { type Bundles, type Config, makeBundles } from './bundle.ts'

describe.skipIf(missing !== undefined)('a bundle', () => {
  let bundles: Bundles
  beforeAll(() => {
    bundles = makeBundles()
  })
  afterAll(async () => {
    await bundles[Symbol.asyncDispose]()
  })

  const set = (place: object, value: object) => Object.assign(place, value)
  const fails = async (change: (config: Config) => void): Promise<string> => {
    const error: unknown = await bundles.create('failing', bundles.write(change)).catch(e => e)
    expect(error).toBeInstanceOf(Error)
    return (error as Error).message
  }

  describe('schedules its process', () => {
    test('by policy, I/O priority, memory policy and personality, which exec gets, too', async () => {
      const look = (to: string) =>
        `{ cat /proc/self/stat; ionice; uname -m; cut -d" " -f2 /proc/self/numa_maps | sort -u; } > /out/${to}`
      const bundle = bundles.write(config => {
        config.process.args = ['sh', '-c', `${look('first')}; exec sleep 1000`]
        set(config.process, {
          scheduler: { policy: 'SCHED_BATCH', nice: 5 },
          ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 6 },
        })
        set(config.linux, {
          personality: { domain: 'LINUX32' },
          memoryPolicy: { mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] },
          seccomp: { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'] },
        })
      })
      await bundles.create('scheduled', bundle)
      await bundles.start('scheduled')
      await execInContainer({
        ...{ root: bundles.root, id: 'scheduled', preserved: 0, isDetached: false },
        process: own => ({ ...own, args: ['sh', '-c', look('joined')] }),
      })
      for (const file of ['first', 'joined']) {
        const [stat = '', ioPriority, machine, memory] = bundles.read(file).split('\n')
        // Fields 19 and 41 of proc(5); SCHED_BATCH is 3.
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        expect([fields[16], fields[38]]).toEqual(['5', '3'])
        expect(ioPriority).toBe('best-effort: prio 6')
        if (process.arch === 'x64') expect(machine).toBe('i686')
        expect(memory).toBe('bind=static:0')
      }
      await deleteContainer(bundles.root, 'scheduled', { force: true })
    })

    test('of exec alone on some CPUs, before and in the cgroup', async () => {
      const affinity = { initial: '0', final: '1' }
      const bundle = bundles.write(config => {
        config.process.args = [
          'sh',
          '-c',
          'grep Cpus_allowed_list /proc/self/status > /out/cpus; exec sleep 1000',
        ]
        set(config.process, { execCPUAffinity: affinity })
      })
      await bundles.create('cpus', bundle)
      await bundles.start('cpus')
      const cpusOf = async (execCPUAffinity: object | undefined) => {
        await execInContainer({
          ...{ root: bundles.root, id: 'cpus', preserved: 0, isDetached: false },
          process: own => {
            const { execCpuAffinity, ...rest } = own
            const args = ['sh', '-c', 'grep Cpus_allowed_list /proc/self/status > /out/joined-cpus']
            return execCPUAffinity === undefined ? { ...rest, args } : { ...own, args }
          },
        })
        return bundles.read('joined-cpus').split(/\s+/)[1]
      }
      expect(await cpusOf(affinity)).toBe('1')
      expect(await cpusOf(undefined)).toBe(bundles.read('cpus').split(/\s+/)[1])
      await deleteContainer(bundles.root, 'cpus', { force: true })
    })

    test.each([
      ['scheduler', { policy: 'SCHED_X' }, 'process.scheduler.policy: expected one of'],
      ['scheduler', { policy: 'SCHED_FIFO', nice: 1 }, 'process.scheduler.nice: expected none'],
      ['scheduler', { policy: 'SCHED_OTHER', nice: 20 }, 'nice: expected a nice value'],
      ['scheduler', { policy: 'SCHED_OTHER', flags: ['X'] }, 'flags[0]: expected one of'],
      ['scheduler', { policy: 'SCHED_ISO' }, 'Cannot set the scheduler "SCHED_ISO"'],
      ['ioPriority', { class: 'X', priority: 0 }, 'process.ioPriority.class: expected one of'],
      ['ioPriority', { class: 'IOPRIO_CLASS_BE', priority: 8 }, 'expected a priority from 0 to 7'],
      ['execCPUAffinity', { initial: '3-1' }, 'execCPUAffinity.initial: expected a list'],
      ['execCPUAffinity', { final: '9999' }, 'execCPUAffinity.final: expected a list'],
    ])('and refuses %s %j', async (key, value, expected) => {
      expect(await fails(config => set(config.process, { [key]: value }))).toContain(expected)
    })

    test.each([
      ['personality', { domain: 'BSD' }, 'linux.personality.domain: expected one of'],
      ['personality', { domain: 'LINUX', flags: ['X'] }, 'flags[0]: expected no flags'],
      ['memoryPolicy', { mode: 'MPOL_X' }, 'linux.memoryPolicy.mode: expected one of'],
      ['memoryPolicy', { mode: 'MPOL_BIND', nodes: 'x' }, 'memoryPolicy.nodes: expected a list'],
      ['memoryPolicy', { mode: 'MPOL_BIND' }, 'Cannot set the memory policy "MPOL_BIND"'],
      [
        'seccomp',
        { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'] },
        'linux.seccomp.flags[0]: expected one of',
      ],
      [
        'seccomp',
        { defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 1 },
        'linux.seccomp.defaultAction: expected an action with a number',
      ],
      [
        'seccomp',
        { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: [], action: 'SCMP_ACT_ERRNO' }] },
        'linux.seccomp.syscalls[0].names: expected at least one',
      ],
    ])('and refuses linux.%s %j', async (key, value, expected) => {
      expect(await fails(config => set(config.linux, { [key]: value }))).toContain(expected)
    })
  })

  describe('mounts with other owners', () => {
    const source = () => {
      const path = join(bundles.directory, 'owned')
      mkdirSync(path, { recursive: true })
      writeFileSync(join(path, 'file'), '')
      chownSync(join(path, 'file'), 3, 4)
      return path
    }
    const maps = {
      uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
      gidMappings: [{ containerID: 0, hostID: 2000, size: 10 }],
    }
    const usersOfItsOwn = (config: Config) => {
      config.linux.namespaces.push({ type: 'user' })
      const mapping = [{ containerID: 0, hostID: 100_000, size: 65_536 }]
      set(config.linux, { uidMappings: mapping, gidMappings: mapping })
    }

    test('as the mount says, both ways', async () => {
      const path = source()
      await bundles.run('stat -c "%u %g" /m/file > /out/owner; touch /m/made', config => {
        config.process.user = { uid: 1007, gid: 2007 }
        chownSync(path, 7, 7)
        config.mounts.push({
          destination: '/m',
          source: path,
          options: ['rbind', 'ridmap'],
          ...maps,
        })
      })
      expect(bundles.read('owner')).toBe('1003 2004\n')
      const made = statSync(join(path, 'made'))
      expect([made.uid, made.gid]).toEqual([7, 7])
    })

    test('as the users of the container, when the mount has none of its own', async () => {
      const path = source()
      await bundles.run('stat -c "%u %g" /m/file /raw/file > /out/own-owner', config => {
        usersOfItsOwn(config)
        // Its root may make none in a root that is not its own.
        for (const name of ['m', 'raw']) {
          mkdirSync(join(bundles.box.layer, name), { recursive: true })
        }
        config.mounts.push(
          { destination: '/m', source: path, options: ['bind', 'idmap'] },
          { destination: '/raw', source: path, options: ['bind'] },
        )
      })
      expect(bundles.read('own-owner')).toBe('3 4\n65534 65534\n')
    })

    test.each([
      [{ options: ['bind', 'idmap'] }, 'mounts[4]: expected uidMappings and gidMappings'],
      [{ options: ['bind'], uidMappings: maps.uidMappings }, 'mounts[4].gidMappings: expected'],
      [{ type: 'tmpfs', options: ['idmap'], ...maps }, 'mounts[4]: only the ids of binds'],
    ])('and refuses %j', async (mount, expected) => {
      const message = await fails(config => {
        config.mounts.push({ destination: '/m', source: source(), ...mount })
      })
      expect(message).toContain(expected)
    })
  })

  describe('mounts', () => {
    const filesystem = [
      ...['async', 'atime', 'defaults', 'dev', 'diratime', 'dirsync', 'exec', 'iversion'],
      ...['lazytime', 'loud', 'noatime', 'nodev', 'nodiratime', 'noexec', 'noiversion'],
      ...['nolazytime', 'norelatime', 'nostrictatime', 'nosuid', 'relatime', 'ro', 'rw'],
      ...['silent', 'strictatime', 'suid', 'sync'],
    ]
    const propagation = [
      ...['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'],
      ...['unbindable', 'runbindable'],
    ]

    test('with each option that a runtime must have, as tmpfs and as bind', async () => {
      const path = join(bundles.directory, 'plain')
      mkdirSync(path, { recursive: true })
      const options = [...filesystem, ...propagation]
      await bundles.run('cat /proc/self/mountinfo > /out/mounts', config => {
        config.mounts.push(
          ...options.map(option => ({
            ...{ destination: `/t/${option}`, type: 'tmpfs', source: 'tmpfs', options: [option] },
          })),
          ...['bind', 'rbind'].flatMap(how =>
            options.map(option => ({
              ...{ destination: `/b/${how}-${option}`, source: path, options: [how, option] },
            })),
          ),
        )
      })
      const lines = new Map(
        bundles
          .read('mounts')
          .split('\n')
          .map(line => [line.split(' ')[4] ?? '', line]),
      )
      for (const option of options) {
        for (const place of [`/t/${option}`, `/b/bind-${option}`, `/b/rbind-${option}`]) {
          expect(lines.get(place), place).toBeDefined()
        }
      }
      for (const option of [
        'nosuid',
        'nodev',
        'noexec',
        'ro',
        'noatime',
        'nodiratime',
        'relatime',
      ]) {
        expect(lines.get(`/t/${option}`), option).toMatch(new RegExp(`/t/${option} \\S*${option}`))
        expect(lines.get(`/b/bind-${option}`)).toMatch(new RegExp(` \\S*${option}`))
      }
      for (const option of ['sync', 'dirsync', 'lazytime']) {
        expect(lines.get(`/t/${option}`)).toMatch(new RegExp(` - tmpfs tmpfs .*\\b${option}\\b`))
      }
      expect(lines.get('/t/shared')).toMatch(/ shared:\d+ - /)
      expect(lines.get('/t/unbindable')).toMatch(/ unbindable - /)
      rmSync(join(bundles.box.layer, 't'), { recursive: true, force: true })
      rmSync(join(bundles.box.layer, 'b'), { recursive: true, force: true })
    })

    test('anew what is there, with other flags, and nothing where nothing is', async () => {
      await bundles.run('cat /proc/self/mountinfo > /out/mounts', config => {
        config.mounts.push(
          { destination: '/m', type: 'tmpfs', source: 'tmpfs' },
          { destination: '/m', type: 'none', options: ['remount', 'ro', 'noexec'] },
        )
      })
      expect(bundles.read('mounts')).toMatch(/ \/m ro,noexec/)
      const nothing = await fails(config => {
        config.mounts.push({ destination: '/etc', type: 'none', options: ['remount', 'ro'] })
      })
      expect(nothing).toContain('Cannot mount again "/etc"')
      const data = await fails(config => {
        config.mounts.push({ destination: '/dev', type: 'none', options: ['remount', 'size=1'] })
      })
      expect(data).toContain('a remount has no option "size=1"')
    })
  })

  test('is refused with the same limit twice, and with a hook that may take no time', async () => {
    const limit = { type: 'RLIMIT_CORE', soft: 1, hard: 1 }
    expect(await fails(({ process }) => set(process, { rlimits: [limit, limit] }))).toContain(
      'process.rlimits[1].type: expected each limit once',
    )
    const hooks = { poststart: [{ path: '/bin/true', timeout: 0 }] }
    expect(await fails(config => set(config, { hooks }))).toContain(
      'hooks.poststart[0].timeout: expected a number of seconds > 0',
    )
  })

  test('is not refused for fields that no specification has', async () => {
    await bundles.run('touch /out/unknown', config => {
      set(config, { 'x-ours': { a: 1 } })
      set(config.process, { later: true })
      set(config.linux, { later: [] })
    })
    expect(bundles.read('unknown')).toBe('')
  })
})
