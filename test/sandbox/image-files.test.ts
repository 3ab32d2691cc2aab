/** unpack, mount, diff, export: the files of images and containers, by the built program. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { busyboxRootfs } from '../support/busybox.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith } from '../support/requires.ts'

describeWith(['root', 'busybox'], 'the files of images and containers', () => {
  let compiled: Compiled
  let root: string

  const call = (program: 'tsrun' | 'tsbuild', args: string[]): SpawnSyncReturns<string> =>
    spawnSync(process.execPath, ['--', join(compiled.dist, 'cli', `${program}.js`), ...args], {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: root, TSBUILD_ROOT: join(root, 'store') },
    })
  const tsrun = (...args: string[]) => call('tsrun', args)
  const works = (...args: string[]) => {
    const { status, stdout, stderr } = tsrun(...args)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    return stdout
  }
  const mounted = (path: string) =>
    readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `)

  beforeAll(() => {
    compiled = compileSources()
    root = mkdtempSync('/tmp/image-files-')
    mkdirSync(join(root, 'busybox'))
    works('import', busyboxRootfs(join(root, 'busybox')), 'base')
    mkdirSync(join(root, 'context'))
    writeFileSync(join(root, 'context/new'), 'new file\n')
    writeFileSync(
      join(root, 'context/Dockerfile'),
      [
        'FROM base',
        'RUN mkdir /work && echo one > /work/one && echo two > /work/two && chmod 4711 /work/one',
        'COPY --chown=7:8 new /work/three',
        'RUN rm /work/two && chown 5:6 /work/one && ln -s one /work/link',
      ].join('\n'),
    )
    const { status, stderr } = call('tsbuild', ['-q', '-t', 'app', '--network', 'none', 'context'])
    expect(stderr).toBe('')
    expect(status).toBe(0)
  }, 60_000)

  afterAll(() => {
    tsrun('umount', '--all')
    rmSync(root, { recursive: true, force: true })
    compiled[Symbol.dispose]()
  })

  test('unpack writes one tree, with owners and modes, and no whiteouts', () => {
    expect(works('unpack', 'app', 'flat')).toBe('')
    expect(readdirSync(join(root, 'flat/work')).sort()).toEqual(['link', 'one', 'three'])
    const one = statSync(join(root, 'flat/work/one'))
    expect([one.uid, one.gid]).toEqual([5, 6])
    expect(statSync(join(root, 'flat/work/three'))).toMatchObject({ uid: 7, gid: 8 })
    expect(existsSync(join(root, 'flat/bin/busybox'))).toBe(true)
  })

  test('unpack refuses a directory with something in it, and --force does not', () => {
    mkdirSync(join(root, 'full'))
    writeFileSync(join(root, 'full/mine'), '')
    const { status, stderr } = tsrun('unpack', 'app', 'full')
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr:
        'ERROR: Cannot unpack into "full": it is not empty\nuse another directory, or --force to unpack over what is there\n',
    })
    expect(readdirSync(join(root, 'full'))).toEqual(['mine'])
    works('unpack', '--force', 'app', 'full')
    expect(readdirSync(join(root, 'full'))).toContain('mine')
    expect(existsSync(join(root, 'full/work/one'))).toBe(true)
    expect(tsrun('unpack', '--pull', 'never', 'nothing', 'x').status).toBe(1)
    expect(existsSync(join(root, 'x'))).toBe(false)
  })

  test('mount shows an image read-only, keeps it from prune, and umount ends both', () => {
    const target = join(root, 'mnt')
    expect(works('mount', 'app', 'mnt')).toBe(`${target}\n`)
    expect(readFileSync(join(target, 'work/three'), 'utf8')).toBe('new file\n')
    expect(() => writeFileSync(join(target, 'x'), '')).toThrow(/EROFS/)
    expect(works('mount')).toMatch(/^MOUNT ID .*\n[0-9a-f]{12} +app +\S+\/mnt +read-only\n$/)
    expect(tsrun('mount', 'base', 'mnt').stderr).toBe(
      `ERROR: Cannot mount at "${target}": app is mounted there\n`,
    )
    works('tag', 'app', 'kept')
    works('rmi', '-f', 'app')
    works('rmi', '-f', 'kept')
    works('prune', '-af')
    expect(readFileSync(join(target, 'work/three'), 'utf8')).toBe('new file\n')
    expect(works('umount', 'mnt')).toBe(`${target}\n`)
    expect(mounted(target)).toBe(false)
    expect(readdirSync(join(root, 'store/mounts'))).toEqual([])
    expect(tsrun('umount', 'mnt')).toMatchObject({
      status: 1,
      stderr: 'ERROR: Cannot unmount "mnt": no image is mounted there\n',
    })
    const before = readdirSync(join(root, 'store/snapshots')).length
    works('prune', '-af')
    expect(readdirSync(join(root, 'store/snapshots')).length).toBeLessThan(before)
    expect(call('tsbuild', ['-q', '-t', 'app', '--network', 'none', 'context']).status).toBe(0)
  })

  test('mount --rw takes writes, which go with umount; an image of one layer does too', () => {
    for (const image of ['app', 'base']) {
      works('mount', '--rw', image, 'rw')
      writeFileSync(join(root, 'rw/written'), 'x')
      expect(tsrun('mount').stdout).toContain('scratch')
      works('umount', join(root, 'rw'))
      works('mount', image, 'rw')
      expect(existsSync(join(root, 'rw/written'))).toBe(false)
      expect(existsSync(join(root, 'rw/bin'))).toBe(true)
      works('umount', 'rw')
    }
  })

  test('a mount in use is not ended, but by and by', () => {
    works('mount', 'app', 'busy')
    const sleeper = spawnSync('sh', ['-c', 'sleep 30 >/dev/null 2>&1 & echo $!'], {
      cwd: join(root, 'busy/work'),
      encoding: 'utf8',
    })
    try {
      const { status, stderr } = tsrun('umount', 'busy')
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: `ERROR: Cannot unmount "${join(root, 'busy')}": it is in use\nLeave the directory first, or use --lazy\n`,
      })
      works('umount', '--lazy', 'busy')
      expect(mounted(join(root, 'busy'))).toBe(false)
    } finally {
      process.kill(Number(sleeper.stdout))
    }
  })

  test('what others unmounted is forgotten; what another namespace still shows is not', () => {
    works('mount', 'app', 'other')
    expect(spawnSync('umount', [join(root, 'other')]).status).toBe(0)
    expect(readdirSync(join(root, 'store/mounts'))).toHaveLength(1)
    expect(works('mount').split('\n')).toHaveLength(2)
    expect(readdirSync(join(root, 'store/mounts'))).toEqual([])

    works('mount', 'app', 'other')
    const holder = spawnSync(
      'sh',
      ['-c', 'unshare -m sleep 30 >/dev/null 2>&1 & echo $!; sleep 0.3'],
      {
        encoding: 'utf8',
      },
    )
    try {
      works('umount', 'other')
      expect(readdirSync(join(root, 'store/mounts'))).toHaveLength(1)
      works('prune', '-f')
      expect(readdirSync(join(root, 'store/mounts'))).toHaveLength(1)
    } finally {
      process.kill(Number(holder.stdout))
    }
    for (let attempt = 0; attempt < 50; attempt++) {
      works('mount')
      if (readdirSync(join(root, 'store/mounts')).length === 0) return
    }
    expect(readdirSync(join(root, 'store/mounts'))).toEqual([])
  })

  test('diff tells what a container changed, as docker does', () => {
    works(
      ...['run', '--name', 'changed', '--network', 'none', 'app', 'sh', '-c'],
      'echo x > /work/four; rm /work/link; chmod 600 /work/three; mkdir -p /a/b',
    )
    const own = works('diff', 'changed').split('\n')
    expect(own).toEqual(expect.arrayContaining(['A /a', 'A /a/b', 'C /work', 'D /work/link']))
    expect(own).toEqual(expect.arrayContaining(['A /work/four', 'C /work/three']))
    expect(own).not.toContain('C /work/one')
    const json = works('diff', '--format', 'json', 'changed').trim().split('\n')
    expect(json.map(line => JSON.parse(line))).toContainEqual({
      kind: 'A',
      path: '/work/four',
      size: 2,
    })
  })

  test('diff tells what an image changed, layer by layer, and between two', () => {
    expect(works('diff', 'app').split('\n').sort().filter(Boolean)).toEqual([
      'A /work/link',
      'C /work',
      'C /work/one',
      'D /work/two',
    ])
    const layers = works('diff', '--layers', 'app')
    expect(layers).toMatch(/^# 1\/4 {2}sha256:[0-9a-f]{12} {2}\S+ in files, \S+ packed/)
    expect(layers).toMatch(
      /\n# 3\/4 .* 9B in files, .*COPY --chown=7:8 new \/work\/three.*\nC \/work\nA \/work\/three\n/,
    )
    expect(works('diff', 'app', 'app')).toBe('')
    const lines = works('diff', 'base', 'app').trim().split('\n')
    const between = lines.map(line => line.replace(/ {2}\(.*\)$/, ''))
    expect(between).toEqual(['A /work', 'A /work/link', 'A /work/one', 'A /work/three'])
    expect(works('diff', 'app', 'base').trim()).toBe('D /work')
    expect(tsrun('diff', 'nothing').stderr).toBe(
      'ERROR: Cannot find a container or image "nothing"\n',
    )
  })

  test('export writes what unpack writes, and of a container what it changed too', () => {
    works('export', '-o', 'app.tar', 'app')
    mkdirSync(join(root, 'exported'))
    expect(
      spawnSync('tar', ['-C', join(root, 'exported'), '-xpf', join(root, 'app.tar')]).status,
    ).toBe(0)
    const { stdout } = spawnSync('diff', ['-r', '--no-dereference', 'exported', 'flat'], {
      cwd: root,
      encoding: 'utf8',
    })
    expect(stdout).toBe('')
    const { stdout: names } = spawnSync('tar', ['-tf', '-'], {
      input: spawnSync(
        process.execPath,
        ['--', join(compiled.dist, 'cli/tsrun.js'), 'export', 'changed'],
        {
          env: { PATH: '/bin', HOME: root, TSBUILD_ROOT: join(root, 'store') },
          maxBuffer: 2 ** 28,
        },
      ).stdout,
      encoding: 'utf8',
    })
    expect(names).toContain('work/four\n')
    expect(names).not.toContain('work/link\n')
    works('rm', 'changed')
  })
})
