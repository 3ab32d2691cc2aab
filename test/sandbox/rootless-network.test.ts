/** Containers of a user, connected by the real pasta and the real slirp4netns. */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findNetworkHelper } from '../../src/layerfs/sandbox/network-helper.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith } from '../support/requires.ts'
import { type Box, makeBox } from './box.ts'

/** Of no other test: its processes are counted. */
const user = 4080
const { PATH = '' } = process.env

describeWith(['root', 'busybox', 'users', 'pasta', 'slirp4netns'], 'without root', () => {
  let compiled: Compiled
  let box: Box

  beforeAll(() => {
    compiled = compileSources()
    box = makeBox()
    for (const path of [box.directory, join(compiled.dist, '..')]) chmodSync(path, 0o755)
    mkdirSync(join(box.directory, 'home'))
    chownSync(join(box.directory, 'home'), user, user)
    spawnSync('tar', ['-C', box.layer, '-cf', join(box.directory, 'rootfs.tar'), '.'])
    expect(asUser([], 'tsrun import "$OLDPWD/rootfs.tar" bb')).toMatchObject({ status: 0 })
  }, 60_000)

  afterAll(() => {
    box[Symbol.dispose]()
    compiled[Symbol.dispose]()
  })

  /** Runs `script`, in which `tsrun` is a command, where the programs `without` are none. */
  function asUser(without: readonly string[], script: string, tunMode = '666') {
    const hide = without.map(path => `mount --bind /dev/null ${path}`).join('\n')
    const prepare = `set -e
      mount -t tmpfs -o mode=755 tun /mnt; mknod /mnt/tun c 10 200; chmod ${tunMode} /mnt/tun
      mkdir -p /dev/net; mount -t tmpfs -o mode=755 net /dev/net; touch /dev/net/tun
      mount --bind /mnt/tun /dev/net/tun
      ${hide}
      cd ${box.directory}; cd home
      exec setpriv --reuid ${user} --regid ${user} --clear-groups sh -c "$1"`
    const define = `tsrun() { sh ${compiled.dist}/cli/tsrun.js "$@"; }\n`
    const run = spawnSync('unshare', ['-m', 'sh', '-c', prepare, 'sh', define + script], {
      encoding: 'utf8',
      env: { PATH, HOME: join(box.directory, 'home') },
      timeout: 60_000,
    })
    return { status: run.status, stdout: run.stdout, stderr: run.stderr }
  }

  const pasta = findNetworkHelper().path
  const slirp = findNetworkHelper(path => path.endsWith('/slirp4netns') && existsSync(path)).path

  /** Numbers of the processes of that name that have our box's user. */
  const helpers = (name: string) =>
    spawnSync('ps', ['-u', `${user}`, '-o', 'stat=,args='], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter(line => line.includes(name) && !line.startsWith('Z'))

  describe.each([
    ['pasta', [] as string[], /inet (?!127\.|10\.0\.2\.)/],
    ['slirp4netns', [pasta], /inet 10\.0\.2\.100/],
  ])('%s', (name, without, address) => {
    test('connects a container, with a way out and no way to the host’s loopback', async () => {
      const script = `ip addr; ip route; echo secret | busybox nc -l -p 18081 & busybox nc -w 1 127.0.0.1 18082`
      const { stdout } = asUser(
        without,
        `echo leaked | busybox nc -l -s 127.0.0.1 -p 18082 & listener=$!
         tsrun --rm bb sh -c '${script}'; kill $listener`,
      )
      expect(stdout).toMatch(address)
      expect(stdout).toMatch(/^default via /m)
      expect(stdout).not.toContain('leaked')
      await expect.poll(() => helpers(name), { timeout: 10_000 }).toEqual([])
    })

    test('publishes ports of one that lives on, which are free after its end', async () => {
      const serve = 'while :; do echo inside | busybox nc -l -p 80; done'
      const { stdout, stderr } = asUser(
        without,
        `tsrun -d --name web -p 127.0.0.1:18080:80 -p 127.0.0.1::53/udp bb sh -c '${serve}' > /dev/null
         tsrun ps --format '{{.Ports}}'
         for i in 1 2 3 4 5 6 7 8 9 10; do busybox nc -w 2 127.0.0.1 18080 && break; sleep 0.2; done
         tsrun --rm -p 127.0.0.1:18080:80 bb true; echo $?
         tsrun rm -f web`,
      )
      expect(stdout).toMatch(
        /^127\.0\.0\.1:18080->80\/tcp, 127\.0\.0\.1:\d+->53\/udp\ninside\n125\nweb\n$/,
      )
      expect(stderr).toContain('Bind for 127.0.0.1:18080/tcp failed: port is already allocated')
      await expect.poll(() => helpers(name), { timeout: 10_000 }).toEqual([])
    })

    test('ends with its monitor, even when that is killed', async () => {
      const { stdout } = asUser(
        without,
        `tsrun -d --name lost bb sleep 1000 > /dev/null
         pid=$(tsrun inspect -f '{{.State.Pid}}' lost)
         kill -9 $(sed -n 's/^PPid:.//p' /proc/$pid/status); sleep 0.3
         tsrun ps -a --format '{{.Status}}'; tsrun rm lost`,
      )
      expect(stdout).toBe('Exited (killed)\nlost\n')
      await expect.poll(() => helpers(name), { timeout: 10_000 }).toEqual([])
    })

    test('cannot be made to fill memory with complaints', () => {
      const script = `tsrun -d --name loud bb sleep 1000 > /dev/null
        tsrun inspect -f '{{.State.Pid}}' loud`
      const pid = asUser(without, script).stdout.trim()
      const [, monitor] = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
      const children = readFileSync(`/proc/${monitor}/task/${monitor}/children`, 'utf8')
      const helper = children
        .split(' ')
        .find(child => child && readFileSync(`/proc/${child}/cmdline`, 'utf8').startsWith(name))
      expect(() => writeFileSync(`/proc/${helper}/fd/2`, 'more', { flag: 'a' })).toThrow('EPERM')
      expect(asUser(without, 'tsrun rm -f loud').stdout).toBe('loud\n')
    })
  })

  test('a port for root, a missing device and a missing program are told in one sentence', () => {
    const { stderr } = asUser([], 'tsrun --rm -p 127.0.0.1:22:80 bb true')
    expect(stderr).toMatch(/^ERROR: Cannot publish port 127\.0\.0\.1:22\/tcp: permission denied/)
    expect(stderr).toContain('net.ipv4.ip_unprivileged_port_start')
    expect(asUser([], 'tsrun --rm bb true', '600')).toMatchObject({
      status: 125,
      stderr: expect.stringMatching(
        /^ERROR: Cannot connect the container to a network: pasta ended: .+\nUse --network host/,
      ),
    })
    expect(asUser([pasta, slirp], 'tsrun --rm bb true')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('neither pasta nor slirp4netns is installed'),
    })
  })
})
