/**
 * Ways out of a container that runtimes had, tried on the whole program, by root and by a user. What
 * could be reached belongs to who runs it and is open to all: no permission of a file stops it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nativePath } from '../../src/layerfs/native/native-programs.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith } from '../support/requires.ts'
import { type Box, makeBox } from './box.ts'

const { PATH = '' } = process.env

const familiesProgram = `
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  const unsigned long families[] = {38, 40, (1ul << 32) + 38, 1};
  for (int i = 0; i < 4; i++) {
    const long fd = syscall(SYS_socket, families[i], 5 - 4 * (i == 3), 0);
    printf("%lu: %d\\n", families[i], fd < 0 ? errno : 0);
  }
  return 0;
}
`

describeWith(['root', 'busybox', 'users'], 'a way out', () => {
  let compiled: Compiled
  let box: Box
  let outside: string
  let tree: string

  beforeAll(() => {
    compiled = compileSources()
    box = makeBox()
    outside = join(box.directory, 'outside')
    tree = join(box.directory, 'tree')
    for (const path of [box.directory, join(compiled.dist, '..')]) chmodSync(path, 0o755)
    mkdirSync(outside)
    chmodSync(outside, 0o777)
    for (const uid of [0, 4000]) {
      mkdirSync(join(box.directory, `home-${uid}`))
      chownSync(join(box.directory, `home-${uid}`), uid, uid)
    }
    cpSync(box.layer, tree, { recursive: true, verbatimSymlinks: true })
    writeFileSync(join(outside, 'secret'), 'escaped\n')
    symlinkSync(outside, join(tree, 'wd'))
    symlinkSync(`/../../../../../..${outside}`, join(tree, 'up'))
    const families = join(box.directory, 'families.c')
    writeFileSync(families, familiesProgram)
    execFileSync('cc', ['-static', '-O1', '-o', join(tree, 'bin/families'), families])
    importAs('bb', tree)
    mkdirSync(join(tree, 'dev/pts'), { recursive: true })
    for (const name of ['console', 'pts/0', 'pts/ptmx', 'ptmx']) {
      symlinkSync(join(outside, 'secret'), join(tree, 'dev', name))
    }
    importAs('console-link', tree)
    rmSync(join(tree, 'dev'), { recursive: true })
    for (const name of ['dev', 'proc', 'sys']) {
      symlinkSync(outside, join(tree, name))
      importAs(`${name}-link`, tree)
      rmSync(join(tree, name))
    }
  }, 120_000)

  afterAll(() => {
    box[Symbol.dispose]()
    compiled[Symbol.dispose]()
  })

  function importAs(name: string, directory: string): void {
    const archive = join(box.directory, `${name}.tar`)
    spawnSync('tar', ['-C', directory, '-cf', archive, '.'])
    for (const uid of [0, 4000]) expect(tsrun(uid, 'import', archive, name).status).toBe(0)
  }

  function tsrun(uid: number, ...args: string[]) {
    const home = join(box.directory, `home-${uid}`)
    const ids = ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups']
    const program = ['sh', join(compiled.dist, 'cli/tsrun.js'), ...args]
    const { status, stdout, stderr } = spawnSync('setpriv', [...ids, ...program], {
      encoding: 'utf8',
      env: { PATH, HOME: home, TSBUILD_ROOT: join(home, 'store') },
      cwd: home,
      timeout: 30_000,
    })
    return { status, stdout, stderr }
  }

  const inside = (uid: number, script: string, ...flags: string[]) =>
    tsrun(uid, '--rm', '--network', 'none', ...flags, 'bb', 'sh', '-c', script)

  const untouched = () => {
    expect(readdirSync(outside)).toEqual(['secret'])
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('escaped\n')
  }

  const modes = [
    ['root', 0],
    ['a user', 4000],
  ] as const

  test.each(modes)('%s: a working directory among our descriptors (CVE-2024-21626)', (_, uid) => {
    for (const fd of [3, 7, 9]) {
      const script = `cat ../../../../../..${outside}/secret; ls -l /proc/self/cwd`
      const { status, stdout } = inside(uid, script, '-w', `/proc/self/fd/${fd}`)
      expect(stdout).not.toContain('escaped')
      expect(status).not.toBe(0)
    }
  })

  test.each(modes)(
    '%s: descriptors and capabilities that were left (CVE-2022-29162, CVE-2022-24769)',
    (_, uid) => {
      const script = `ls /proc/self/fd; grep -E 'CapInh|CapAmb' /proc/self/status`
      const { stdout } = inside(uid, script)
      // The fourth is of the listing itself.
      expect(stdout).toMatch(/^0\n1\n2\n3\nCapInh:\t0+\nCapAmb:\t0+\n$/)
    },
  )

  test.each(modes)(
    '%s: links at /dev, /proc and /sys (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-47766)',
    (_, uid) => {
      for (const image of ['dev-link', 'proc-link', 'sys-link']) {
        const { status, stderr } = tsrun(uid, '--rm', '--network', 'none', image, 'true')
        expect([image, status]).toEqual([image, 125])
        expect(stderr).toMatch(/^ERROR: Cannot mount "\/(dev|proc|sys)": /)
      }
      untouched()
    },
  )

  test.each(modes)(
    '%s: directories made through links (CVE-2026-55686, CVE-2021-30465, CVE-2024-45310)',
    (_, uid) => {
      for (const link of ['wd', 'up']) {
        expect(inside(uid, 'echo x > made', '-w', `/${link}/new`).status).toBe(0)
        inside(uid, 'echo x > /wd/made', '-v', `${box.directory}/home-${uid}:/${link}/mount`)
        expect(inside(uid, 'true', '--tmpfs', `/${link}/tmpfs`).status).toBe(0)
      }
      untouched()
    },
  )

  test.each(modes)('%s: cgroups that can be written (CVE-2022-0492, CVE-2023-25809)', (_, uid) => {
    const script = `for f in $(find /sys/fs/cgroup -name release_agent -o -name cgroup.procs); do
        echo 1 > $f && echo "escaped by $f"; done
      mkdir /sys/fs/cgroup/made && echo escaped
      mkdir /tmp/c && mount -t cgroup -o memory none /tmp/c && echo escaped
      mount -t cgroup2 none /tmp/c && echo escaped; echo tried`
    expect(inside(uid, script).stdout).toBe('tried\n')
  })

  test.each(modes)('%s: files of the kernel (CVE-2025-31133, CVE-2025-52881)', (_, uid) => {
    const script = `head -c 1 /proc/kcore; head -c 1 /proc/keys; head -c 1 /proc/timer_list
      echo h > /proc/sysrq-trigger && echo escaped
      echo x > /proc/sys/kernel/core_pattern && echo escaped
      echo 1 > /proc/sys/vm/drop_caches && echo escaped
      mount -o remount,rw /proc/sys && echo escaped
      umount /proc/kcore && echo escaped; echo tried`
    expect(inside(uid, script).stdout).toBe('tried\n')
  })

  test.each(modes)(
    '%s: what the kernel tells of the machine (GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p)',
    (_, uid) => {
      const script = `head -c 1 /proc/interrupts; ls /sys/devices/virtual/powercap /sys/firmware
        for cpu in /sys/devices/system/cpu/cpu*/thermal_throttle; do ls $cpu; done; echo tried`
      expect(inside(uid, `(${script}) 2>/dev/null`).stdout.replace(/^\/.*:\n|^\n/gm, '')).toBe(
        'tried\n',
      )
    },
  )

  test.each(modes)('%s: families of sockets (CVE-2026-31431)', (_, uid) => {
    // AF_ALG and AF_VSOCK, and by numbers that are the same to the kernel.
    expect(inside(uid, 'families').stdout).toBe('38: 1\n40: 1\n4294967334: 1\n1: 0\n')
  })

  test.each(modes)('%s: links at the terminals (CVE-2025-52565)', (_, uid) => {
    const { stdout } = tsrun(
      uid,
      '-d',
      '-t',
      '--network',
      'none',
      'console-link',
      'sh',
      '-c',
      'tty; cat',
    )
    const id = stdout.trim()
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    const links = tsrun(uid, 'exec', id, 'ls', '-l', '/dev/console', '/dev/pts/0')
    expect(links.stdout).toMatch(/^crw.* \/dev\/console\ncrw.* \/dev\/pts\/0\n$/)
    expect(tsrun(uid, 'logs', id).stdout).toBe('/dev/pts/0\r\n')
    expect(tsrun(uid, 'rm', '-f', id).status).toBe(0)
    untouched()
  })

  test.each(modes)('%s: namespaces of its own (CVE-2022-0185)', (_, uid) => {
    const script = `busybox unshare -U true && echo escaped
      busybox unshare -n true && echo escaped; busybox unshare -m true && echo escaped
      busybox nsenter -t 1 -m true && echo escaped; echo tried`
    expect(inside(uid, script).stdout).toBe('tried\n')
  })

  test.each(modes)('%s: abstract sockets of the host (CVE-2020-15257)', (_, uid) => {
    expect(inside(uid, 'grep -c @ /proc/net/unix; echo tried').stdout).toBe('0\ntried\n')
  })

  test.each(modes)('%s: our own program (CVE-2019-5736, CVE-2016-9962)', (_, uid) => {
    const before = readFileSync(nativePath('sandbox'))
    const script = `for n in 1 self; do
        echo x > /proc/$n/exe; done; ls -l /proc/1/exe /proc/1/fd; kill -0 2; echo tried`
    const { stdout } = inside(uid, script, '--init')
    expect(stdout).not.toContain('native')
    expect(stdout).toContain('tried')
    expect(readFileSync(nativePath('sandbox')).equals(before)).toBe(true)
  })

  test.each(modes)('%s: numbers that are no user (CVE-2024-40635, CVE-2026-30892)', (_, uid) => {
    for (const text of ['4294967296', '4294967295', '-1', '0:4294967296', '+0', '0x0']) {
      const { status, stdout } = inside(uid, 'id -u', '-u', text)
      expect([text, status, stdout]).toEqual([text, 125, ''])
    }
  })
})
