/** Processes that join a container of a bundle. */
import { readFileSync, readlinkSync as readlink } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { execInContainer } from '../../src/layerfs/oci-runtime/exec.ts'
import {
  deleteContainer,
  killContainer,
  listProcesses,
} from '../../src/layerfs/oci-runtime/lifecycle.ts'
import { missing } from './box.ts'
import { type Bundles, type Config, makeBundles } from './bundle.ts'

const forever = (config: Config) => {
  config.process.args = ['sleep', '1000']
}

describe.skipIf(missing !== undefined)('a running container of a bundle', () => {
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

  describe('is joined by', () => {
    const exec = (id: string, text: string, change = {}) =>
      execInContainer({
        root: bundles.root,
        id,
        preserved: 0,
        isDetached: false,
        process: own => ({ ...own, args: ['sh', '-c', text], ...change }),
      })

    test('a process that has all of its namespaces, its cgroup, filter and capabilities', async () => {
      const pid = await started('joined', config => {
        forever(config)
        Object.assign(config.linux, {
          resources: { pids: { limit: 50 } },
          seccomp: {
            defaultAction: 'SCMP_ACT_ALLOW',
            syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 122 }],
          },
        })
      })
      const { exit } = await exec(
        'joined',
        [
          'for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done > /out/ns',
          'cat /proc/self/status /proc/1/status > /out/status; ls /proc/self/fd > /out/exec-fds',
          'mkdir /tmp/made 2> /out/exec-seccomp; exit 5',
        ].join('\n'),
      )
      expect(exit?.code).toBe(5)
      const namespaces = ['pid', 'net', 'ipc', 'uts', 'mnt']
      expect(bundles.read('ns').trim().split('\n')).toEqual(
        namespaces.map(name => readlink(`/proc/${pid}/ns/${name}`)),
      )
      const capabilities = [...bundles.read('status').matchAll(/^Cap\w+:.*$/gm)].map(String)
      expect(capabilities.slice(0, 5)).toEqual(capabilities.slice(5))
      expect(bundles.read('exec-seccomp')).toContain('quota exceeded')
      expect(bundles.read('exec-fds').trim().split('\n')).toEqual(['0', '1', '2', '3'])
    })

    test('one with another user and directory, detached, in its cgroup', async () => {
      const file = join(bundles.directory, 'exec-pid')
      await execInContainer({
        root: bundles.root,
        id: 'joined',
        preserved: 0,
        isDetached: true,
        pidFile: file,
        process: own => ({
          ...own,
          args: ['sh', '-c', 'id -u > /out/exec-id; pwd >> /out/exec-id; exec sleep 1000'],
          cwd: '/tmp',
          user: { uid: 33, gid: 33, additionalGids: [] },
        }),
      })
      await expect.poll(() => readFileSync(join(bundles.out, 'exec-id'), 'utf8')).toBe('33\n/tmp\n')
      expect(listProcesses(bundles.root, 'joined')).toContain(Number(readFileSync(file, 'utf8')))
    })

    test('none whose program or directory is not there', async () => {
      await expect(exec('joined', '', { args: ['no-such-program'] })).rejects.toMatchObject({
        exitCode: 127,
        message: expect.stringContaining('executable file not found in $PATH'),
      })
      await expect(exec('joined', 'true', { cwd: '/no/such' })).rejects.toThrow('/no/such')
    })

    test('none whose directory is a descriptor of the host (CVE-2024-21626)', async () => {
      for (const cwd of ['/proc/self/fd/3', '/proc/self/fd/5', '/proc/self/fd/7']) {
        await expect(exec('joined', 'true', { cwd })).rejects.toThrow(cwd)
      }
    })

    test('nobody who could write our program through /proc/self/exe (CVE-2019-5736)', async () => {
      bundles.box.write('bin/hijack', '#!/proc/self/exe\n', 0o755)
      const before = readFileSync(new URL('../../build/native/sandbox', import.meta.url))
      await exec('joined', '', { args: ['/bin/hijack'] }).catch(() => {})
      // What /proc/self/exe is for who joins: a copy in memory that takes no writes.
      await exec('joined', 'cat /proc/self/attr/current; echo x > /proc/1/exe; true')
      const after = readFileSync(new URL('../../build/native/sandbox', import.meta.url))
      expect(after.equals(before)).toBe(true)
    })

    test('nobody once it has stopped', async () => {
      const { root } = bundles
      killContainer({ root, id: 'joined', all: true }, constants.signals.SIGKILL)
      await bundles.until('joined', 'stopped')
      await expect(exec('joined', 'true')).rejects.toThrow('it is not running')
      await remove('joined')
    })
  })
})
