/**
 * The programs as a user that is not root, with and without ids of its own in /etc/subuid. What of
 * the machine differs for that is mounted in a namespace of the test.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { idMap, subordinateIds } from '../../src/layerfs/sandbox/id-maps.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { type Box, makeBox, missing as missingForBox } from './box.ts'

const user = 4000
const stub = fileURLToPath(new URL('user-id-map.c', import.meta.url))
const native = fileURLToPath(new URL('../../build/native/sandbox', import.meta.url))
const asUser = ['--reuid', `${user}`, '--regid', `${user}`, '--clear-groups']

/** Why this machine cannot run these tests, or nothing. */
function missing(): string | undefined {
  if (missingForBox !== undefined) return missingForBox
  if (spawnSync('setpriv', [...asUser, native]).error !== undefined) return 'needs setpriv'
  // It starts, and says that nobody should start it so.
  if (spawnSync('setpriv', [...asUser, native]).status !== 125) return 'needs a checkout for all'
  const allowed = spawnSync('setpriv', [...asUser, 'unshare', '-U', 'true']).status === 0
  return allowed ? undefined : 'needs user namespaces for users'
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replace(/\0/g, ' ').trim()
  } catch {
    // It has ended.
    return ''
  }
}

const lacks = missing()
const { PATH = '' } = process.env

describe.skipIf(lacks !== undefined)(`without root${lacks ? ` (${lacks})` : ''}`, () => {
  let compiled: Compiled
  let box: Box
  let home: string

  beforeAll(() => {
    compiled = compileSources()
    chmodSync(join(compiled.dist, '..'), 0o755)
    box = makeBox()
    chmodSync(box.directory, 0o755)
    home = join(box.directory, 'home')
    box.write('etc/group', 'root:x:0:\napp:x:1000:\n', 0o644)
    box.write('etc/passwd', 'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n', 0o644)
    spawnSync('tar', ['-C', box.layer, '-cf', join(box.directory, 'rootfs.tar'), '.'])
    for (const name of ['newuidmap', 'newgidmap']) {
      const out = join(box.directory, name)
      expect(spawnSync('cc', ['-static', '-o', out, stub]).status).toBe(0)
    }
    writeFileSync(join(box.directory, 'ids'), `${user}:100000:65536\n`)
  }, 60_000)

  afterAll(() => {
    box[Symbol.dispose]()
    compiled[Symbol.dispose]()
  })

  /** Everything that is mounted is in a namespace of this call. */
  function command(ids: 'single' | 'ranges', program: string, ...args: string[]) {
    const prepare = {
      single: '',
      ranges: `mkdir -p /tmp/tools && mount -t tmpfs tools /tmp/tools
        cp ${box.directory}/newuidmap ${box.directory}/newgidmap /tmp/tools
        chmod 4755 /tmp/tools/*
        mount --bind ${box.directory}/ids /etc/subuid && mount --bind ${box.directory}/ids /etc/subgid`,
    }[ids]
    const script = `set -e; mount -t tmpfs hidden /mnt; ${prepare}
      exec setpriv ${asUser.join(' ')} sh ${compiled.dist}/cli/${program}.js "$@"`
    const env = { PATH: `/tmp/tools:${PATH}`, HOME: home }
    const run = spawnSync('unshare', ['-m', 'sh', '-c', script, 'sh', ...args], {
      encoding: 'utf8',
      env,
      cwd: home,
      timeout: 60_000,
    })
    return { status: run.status, stdout: run.stdout, stderr: run.stderr }
  }

  function freshHome(): void {
    home = join(box.directory, `home-${Math.random()}`)
    mkdirSync(home)
    chownSync(home, user, user)
  }

  const kinds = existsSync('/etc/subuid') ? (['single', 'ranges'] as const) : (['single'] as const)

  test.each(kinds)('(%s) imports, runs, keeps, builds and removes', kind => {
    freshHome()
    const tsrun = (...args: string[]) => command(kind, 'tsrun', ...args)
    expect(tsrun('import', join(box.directory, 'rootfs.tar'), 'bb')).toMatchObject({ status: 0 })
    const script = 'id -u; echo x > /made; ls -ln /made | cut -c1-26; cat < /dev/null; exit 3'
    const made = tsrun('--name', 'kept', '--network', 'none', 'bb', 'sh', '-c', script)
    expect(made).toMatchObject({ status: 3, stderr: '' })
    expect(made.stdout).toMatch(/^0\n-rw-r--r-- +1 0 +0\n/)
    expect(tsrun('rm', 'kept')).toMatchObject({ status: 0 })
    expect(tsrun('--rm', '--network', 'host', 'bb', 'hostname').status).toBe(0)

    writeFileSync(
      join(home, 'Dockerfile'),
      'FROM bb\nRUN rm /bin/stty && mkdir /dir && echo y > /dir/f\n',
    )
    const built = command(kind, 'tsbuild', '--network', 'none', '-t', 'made', '.')
    expect(built).toMatchObject({ status: 0 })
    const shown = tsrun('--rm', '--network', 'none', 'made', 'sh', '-c', 'cat /dir/f; ls /bin/stty')
    expect(shown).toMatchObject({ stdout: 'y\n', status: 1 })
  })

  test.each(kinds)('(%s) checks the health of a container', async kind => {
    freshHome()
    const tsrun = (...args: string[]) => command(kind, 'tsrun', ...args)
    tsrun('import', join(box.directory, 'rootfs.tar'), 'bb')
    const check = 'echo "$(id -u) $(cat /proc/1/comm)"; test -e /tmp/ok'
    const flags = ['--health-cmd', check, '--health-interval', '50ms', '--health-timeout', '1s']
    const started = tsrun(
      '-d',
      '--name',
      'one',
      '--network',
      'none',
      ...flags,
      'bb',
      'sleep',
      '1000',
    )
    expect(started).toMatchObject({ status: 0, stderr: '' })
    const health = () => JSON.parse(tsrun('inspect', '-f', '{{json .State.Health}}', 'one').stdout)
    await expect.poll(() => health().Status, { timeout: 20_000 }).toBe('unhealthy')
    expect(health().Log.at(-1)).toMatchObject({ ExitCode: 1, Output: '0 sleep\n' })
    tsrun('exec', 'one', 'touch', '/tmp/ok')
    await expect.poll(() => health().Status, { timeout: 20_000 }).toBe('healthy')
    expect(tsrun('rm', '-f', 'one').status).toBe(0)
  })

  test.skipIf(kinds.length < 2)('has other users with ranges, and says so without', () => {
    for (const kind of kinds) {
      freshHome()
      command(kind, 'tsrun', 'import', join(box.directory, 'rootfs.tar'), 'bb')
      const script = 'id; cat /proc/self/uid_map'
      const ran = command(
        kind,
        'tsrun',
        '--rm',
        '-u',
        'app',
        '--network',
        'none',
        'bb',
        'sh',
        '-c',
        script,
      )
      if (kind === 'ranges') {
        expect(ran.stdout).toMatch(/^uid=1000\(app\) gid=1000\(app\)/)
        expect(ran.stdout).toMatch(/ +1 +100000 +65536\n/)
      } else {
        expect(ran).toMatchObject({
          status: 125,
          stderr: expect.stringContaining('Cannot give up privileges "gid"'),
        })
      }
    }
  })

  test('a limit that cannot be set is told in one sentence', () => {
    freshHome()
    command('single', 'tsrun', 'import', join(box.directory, 'rootfs.tar'), 'bb')
    const run = (...flags: string[]) => command('single', 'tsrun', '--rm', ...flags, 'bb', 'true')
    expect(run('--network', 'none', '--memory', '64m')).toMatchObject({
      status: 125,
      stderr: expect.stringMatching(/^ERROR: Cannot limit memory: EACCES/),
    })
  })

  test('is killed with the program that the user started', async () => {
    freshHome()
    command('single', 'tsrun', 'import', join(box.directory, 'rootfs.tar'), 'bb')
    const marker = `sleep ${40_000 + (process.pid % 10_000)}.5`
    const args = ['--rm', '--network', 'none', 'bb', 'sh', '-c', `echo ready; exec ${marker}`]
    const program = join(compiled.dist, 'cli/tsrun.js')
    const child = spawn('setpriv', [...asUser, process.execPath, program, ...args], {
      env: { PATH, HOME: home },
      cwd: home,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const isRunning = () =>
      readdirSync('/proc')
        .filter(name => /^\d+$/.test(name))
        .some(pid => commandLine(pid) === marker)
    await expect.poll(isRunning).toBe(true)
    child.kill('SIGKILL')
    await expect.poll(isRunning).toBe(false)
  })
})

describe('subordinateIds()', () => {
  const text = 'root:1:2\napp:100000:65536\n1000:7:3\nbroken\napp:x:1\napp:1:0\napp:4294967295:2\n'

  test('are those of the name and of the id', () => {
    expect(subordinateIds(text, { name: 'app', id: 1000 })).toEqual([
      { start: 100000, count: 65536 },
      { start: 7, count: 3 },
    ])
    expect(subordinateIds(text, { name: undefined, id: 5 })).toEqual([])
  })

  test('come after the own id', () => {
    expect(idMap(1000, [])).toBe('0 1000 1')
    expect(
      idMap(1000, [
        { start: 7, count: 3 },
        { start: 90, count: 1 },
      ]),
    ).toBe('0 1000 1 1 7 3 4 90 1')
  })
})
