/** Sandboxes that runc or crun makes: `--isolation oci`. The long lane runs more tests on them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defaultPath, dockerCapabilities } from '../../src/layerfs/sandbox/defaults.ts'
import { findRuntime } from '../../src/layerfs/sandbox/find-runtime.ts'
import { describeWith } from '../support/requires.ts'
import { type Box, type Changes, makeBox, run, specFor } from './box.ts'

test('a runtime that is not there is named', () => {
  expect(() => findRuntime('/nowhere', 'norunc')).toThrow(
    'Cannot use --isolation oci: there is no "norunc"',
  )
  expect(() => findRuntime('/nowhere', undefined)).toThrow(/no "(crun|runc)" or "(crun|runc)"/)
})

describeWith(['root', 'build', 'busybox', 'runc'], '--isolation oci', () => {
  let box: Box
  let runtime: string
  beforeAll(() => {
    box = makeBox()
    runtime = findRuntime(process.env['PATH'] ?? '', 'runc')
  })
  afterAll(() => box[Symbol.dispose]())

  const runBy = (script: string, { io = {}, ...changes }: Changes = {}) =>
    run(box, script, { ...changes, io: { ...io, runtime } })

  const view = [
    'id; pwd; hostname; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; ulimit -n',
    'cat /etc/hosts /etc/hostname /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /sys/class/net',
    'ls /proc/acpi /sys/firmware; ls /proc/self/fd; env; cat /data/secret; ls -ln /data; mkdir /x',
    'grep -c : /proc/net/dev; readlink /proc/self/cwd',
  ].join('\n')

  test('shows a program the same as ours', async () => {
    const changes: Changes = {
      user: { uid: 1000, gid: 1001, groups: [5] },
      cwd: '/tmp',
      // runc adds one where there is none.
      env: [`PATH=${defaultPath}`, 'HOME=/'],
      mounts: [
        { kind: 'tmpfs', target: '/data', mode: 0o755 },
        {
          ...{ kind: 'file', target: '/data/secret', content: Buffer.from('hidden\n') },
          ...{ mode: 0o440, uid: 1000, gid: 1001 },
        },
      ],
      resourceLimits: [{ name: 'nofile', soft: 100, hard: 200 }],
    }
    const [ours, theirs] = [await run(box, view, changes), await runBy(view, changes)]
    expect(theirs.stdout).toBe(ours.stdout)
    expect(theirs.stdout).toContain('hidden\n')
  })

  test('bounds memory, processes, devices and system calls', async () => {
    const rate = { major: 7, minor: 0, kind: 'read-bps', rate: 1 << 20 } as const
    const script = [
      'mknod /tmp/disk b 8 0 && head -c1 /tmp/disk; unshare -m true; i=0',
      'while [ $i -lt 20 ]; do sleep 1 & i=$((i+1)); done; echo forked',
    ].join('\n')
    const { code, stdout, stderr } = await runBy(script, {
      limits: { memory: 64 << 20, pids: 8, cpus: 0.5, cpuShares: 512, ioRates: [rate] },
      security: {
        ...{ capabilities: dockerCapabilities, seccomp: 'default', paths: 'default' },
        noNewPrivileges: false,
      },
    })
    expect(stdout).not.toContain('forked')
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/can't fork/)
  })

  test('tells exit codes and a program that is not there', async () => {
    expect(await runBy('exit 7')).toMatchObject({ code: 7 })
    await expect(runBy('', { argv: ['no-such-program'] })).rejects.toMatchObject({
      exitCode: 127,
      message: expect.stringContaining('the runtime says'),
    })
  })

  test('refuses what it does not have', async () => {
    await expect(runBy('', { terminal: true })).rejects.toThrow('--isolation oci with a terminal')
    await expect(runBy('', { init: true })).rejects.toThrow('--isolation oci with an init')
  })

  test('leaves no process, mount, bundle or cgroup when the caller is killed', async () => {
    const program = `
      import { runSandbox } from ${JSON.stringify(new URL('../../dist/layerfs/sandbox/run.js', import.meta.url).href)}
      const [spec, io] = JSON.parse(process.argv[1])
      await runSandbox(spec, { ...io, output: 'inherit' })`
    const spec = specFor(box, { argv: ['sh', '-c', `echo up; exec sleep 4242${process.pid}`] })
    const id = `killed-${process.pid}`
    const io = { id, stdin: 'null', stubs: box.stubs, runtime }
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', program, JSON.stringify([spec, io])],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(child.stdout, 'data')
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    await expect.poll(() => processesWith(`4242${process.pid}`)).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.directory)
    const bundlesAndCgroups = ['/run/tsbuild/bundles', ...cgroupParents()]
    const left = () => bundlesAndCgroups.flatMap(path => readdirSync(path))
    // The kernel may still be about to forget its last process: then it is for the run after.
    const afterARun = () => runBy('true').then(() => left().filter(name => name.startsWith(id)))
    await expect.poll(afterARun).toEqual([])
  })
})

function cgroupParents(): string[] {
  const root = '/sys/fs/cgroup'
  return readdirSync(root)
    .map(name => join(root, name, 'tsbuild'))
    .filter(existsSync)
}

function processesWith(word: string): string[] {
  const ids = readdirSync('/proc').filter(name => /^\d+$/.test(name) && name !== `${process.pid}`)
  return ids.filter(id => {
    try {
      return readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0').includes(word)
    } catch {
      return false
    }
  })
}
