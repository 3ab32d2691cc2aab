/**
 * A container of ours and one of Docker's, with the same image, compared from inside. What differs
 * is listed here, each with its reason: nothing else may.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ReferenceDocker, startReferenceDocker } from '../support/reference-docker.ts'
import { describeWith } from '../support/requires.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

const ping = '/proc/sys/net/ipv4'
const sections = {
  status: 'grep -E "^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Umask)" /proc/self/status',
  namespaces: 'for n in /proc/self/ns/*; do readlink $n; done',
  mounts: 'cat /proc/self/mountinfo',
  devices: 'ls -ln /dev',
  limits: 'cat /proc/self/limits',
  environment: 'env | busybox sort',
  names:
    'hostname; cat /etc/hostname; grep -v ^127.0.1.1 /etc/hosts; echo 1.2.3.4 x >> /etc/hosts && echo written',
  process: 'cat /proc/self/oom_score_adj; pwd; busybox tty; cat /proc/1/comm; ls /proc/self/fd',
  sysctls: `cat ${ping}/ip_unprivileged_port_start ${ping}/ping_group_range`,
  hidden:
    'for f in kcore keys timer_list sched_debug scsi acpi; do ls -ld /proc/$f; head -c 1 /proc/$f; done 2>&1',
  proc: "cd /proc; stat -c '%A %u:%g %n' [a-z]*; cd /sys; stat -c '%A %u:%g /sys/%n' * */; set -- /proc/[0-9]*; echo $#",
  calls: 'view',
} as const
type Section = keyof typeof sections

const script = Object.entries(sections)
  .map(([name, command]) => `echo "== ${name}"; ${command}`)
  .join('\n')

describeWith(['root', 'busybox', 'buildkit'], 'inside, beside a container of Docker', () => {
  let made: TsrunStore
  let docker: ReferenceDocker
  let ours: Record<Section, string>
  let theirs: Record<Section, string>

  beforeAll(async () => {
    made = makeTsrunStore(({ layer }) => {
      const source = fileURLToPath(new URL('view.c', import.meta.url))
      execFileSync('cc', ['-static', '-O1', '-o', join(layer, 'bin/view'), source])
    })
    docker = await startReferenceDocker(made.box.directory, made.archive)
    const flags = ['--rm', '--network', 'none', '--hostname', 'box', '-w', '/tmp']
    theirs = split(docker.run([...flags, 'busybox', 'sh', '-c', script]).stdout)
    ours = split(made.tsrun(...flags, 'bb', 'sh', '-c', script).stdout)
  }, 120_000)

  afterAll(async () => {
    await docker?.[Symbol.asyncDispose]()
    made?.[Symbol.dispose]()
  }, 60_000)

  test.each(['status', 'environment', 'names', 'process', 'sysctls'] as const)(
    '%s are the same',
    section => {
      expect(ours[section]).toBe(theirs[section])
    },
  )

  test('namespaces are its own where Docker’s are, and those of cgroups and time besides', () => {
    const own = (text: string) => {
      const links = new Set(text.trim().split('\n'))
      return [...links]
        .map(link => link.split(':', 1)[0] ?? '')
        .filter(name => !links.has(readlinkSync(`/proc/self/ns/${name}`)))
    }
    expect(own(theirs.namespaces)).toEqual(['ipc', 'mnt', 'net', 'pid', 'uts'])
    // A cgroup namespace shows the container nothing of the host's tree; 20.10 makes none on
    // version 1. A time namespace is what Docker makes since 2026.
    expect(own(ours.namespaces)).toEqual(['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'uts'])
  })

  test('mounts are the same, but for cgroups and what newer versions hide', () => {
    const [mine, others] = [mountsOf(ours.mounts), mountsOf(theirs.mounts)]
    const only = (a: Map<string, string>, b: Map<string, string>) =>
      [...a]
        .filter(([point, mount]) => b.get(point) !== mount)
        .map(([point, mount]) => `${point} ${mount}`)
    // No disk of the machine is under ours, and what hides is in nobody's way: no devices, no
    // programs. Containers on version 1 see no cgroups of ours.
    expect(only(others, mine).filter(line => !line.startsWith('/sys/fs/cgroup'))).toEqual([
      expect.stringMatching(/^\/etc\/resolv.conf \S+ rw$/),
      expect.stringMatching(/^\/etc\/hostname \S+ rw$/),
      expect.stringMatching(/^\/etc\/hosts \S+ rw$/),
      '/proc/acpi tmpfs ro',
      '/sys/firmware tmpfs ro',
    ])
    const files = ['/etc/resolv.conf', '/etc/hosts', '/etc/hostname']
    // Docker's newer versions mask the last as well (GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p).
    const newer = /^\/sys\/devices\/(system\/cpu\/cpu\d+\/thermal_throttle|virtual\/powercap) /
    const added = only(mine, others).filter(line => !newer.test(line))
    expect(new Set(added)).toEqual(
      new Set([
        ...files.map(file => `${file} tmpfs rw,nosuid,nodev,noexec`),
        '/proc/acpi tmpfs ro,nosuid,nodev,noexec',
        '/sys/firmware tmpfs ro,nosuid,nodev,noexec',
        '/proc/interrupts tmpfs rw,nosuid',
      ]),
    )
  })

  test('devices are the same, but for the link that newer versions make', () => {
    const list = (text: string) =>
      text
        .replace(/ \w{3} +\d+ +\d+:\d+ /g, ' ')
        .replace(/^total.*\n/, '')
        .replace(/^.* core -> \/proc\/kcore\n/m, '')
    expect(list(ours.devices)).toBe(list(theirs.devices))
  })

  test('limits of processes are the caller’s, as Docker’s are its daemon’s', () => {
    const here = execFileSync('cat', ['/proc/self/limits'], { encoding: 'utf8' })
    expect(ours.limits.trim()).toBe(here.trim())
  })

  test('what is hidden reads as nothing, as it does there', () => {
    const text = (value: string) => value.replace(/ \w{3} +\d+ +\d+:\d+ /g, ' ')
    expect(text(ours.hidden)).toBe(text(theirs.hidden))
  })

  test('what is in /proc and /sys, and whose processes, is the same but for a newer mask', () => {
    const visible = (text: string) => text.split('\n').filter(line => !/ interrupts$/.test(line))
    expect(visible(ours.proc).length).toBeGreaterThan(40)
    expect(visible(ours.proc)).toEqual(visible(theirs.proc))
  })

  test('system calls 0 to 470 get the same answers, but for newer rules', () => {
    const [mine, others] = [answersOf(ours.calls), answersOf(theirs.calls)]
    const differing = [...others].flatMap(([number, answer]) =>
      mine.get(number) === answer ? [] : [`${number}: ${answer} there, ${mine.get(number)} here`],
    )
    const table = readFileSync(new URL('../../scripts/seccomp-table.txt', import.meta.url), 'utf8')
    const listed = new Map(
      [...table.matchAll(/^(\w+) +(\d+) .* (\S+)$/gm)].map(([, name = '', number, rule]) => [
        number,
        { name, rule },
      ]),
    )
    // io_uring is refused since Docker 25; the others 20.10 does not know, and are refused today.
    const refused = /^(425|426|427|450|459|460|461): /
    // 20.10 knows fewer calls: what Docker allows today and did not then.
    const unexplained = differing.filter(line => {
      if (refused.test(line)) return !line.endsWith(' 1 here')
      const [, number, there] = /^(\d+): (-?\d+) there/.exec(line) ?? []
      return !(there === '1' || there === '38') || listed.get(number)?.rule?.startsWith('CAP_')
    })
    expect(unexplained).toEqual([])
  })
})

function split(text: string): Record<Section, string> {
  const parts = text.split(/^== (\w+)\n/m).slice(1)
  const found = parts.flatMap((name, index) =>
    index % 2 === 0 ? [[name, parts[index + 1] ?? '']] : [],
  )
  return Object.fromEntries(found)
}

/** By mount point: its type and options. */
function mountsOf(text: string): Map<string, string> {
  return new Map(
    text
      .trim()
      .split('\n')
      .map(line => {
        const [before = '', after = ''] = line.split(' - ')
        const [, , , , point = '', options = ''] = before.split(' ')
        const relevant = options
          .split(',')
          .filter(option => !/^(rel|strict|no)?atime$/.test(option))
        return [point, `${after.split(' ')[0]} ${relevant.join(',')}`] as const
      }),
  )
}

function answersOf(text: string): Map<string, string> {
  return new Map(
    text
      .trim()
      .split('\n')
      .map(line => line.split(' ') as [string, string]),
  )
}
