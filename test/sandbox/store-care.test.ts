/** fsck, prune (gc), df and du of the built programs: no byte without an owner, none taken in use. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { busyboxRootfs } from '../support/busybox.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith } from '../support/requires.ts'

describeWith(['root', 'busybox'], 'the care of a store', () => {
  let compiled: Compiled
  let root: string
  let base: string
  let registry: ChildProcess
  let address: string

  beforeAll(async () => {
    compiled = compileSources()
    root = mkdtempSync('/tmp/store-care-')
    mkdirSync(join(root, 'busybox'))
    base = busyboxRootfs(join(root, 'busybox'))
    mkdirSync(join(root, 'context'))
    writeFileSync(
      join(root, 'context/Dockerfile'),
      'FROM base\nRUN echo one > /one\nRUN head -c 3000000 /dev/urandom > /two\n',
    )
    const args = [join(compiled.dist, 'cli/tsregistry.js'), 'serve', '--addr', '127.0.0.1:0']
    registry = spawn(process.execPath, [...args, '--root', join(root, 'registry')])
    for await (const line of createInterface({ input: registry.stdout as NodeJS.ReadableStream })) {
      const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1]
      if (port === undefined) continue
      address = `localhost:${port}`
      break
    }
  }, 60_000)

  afterAll(() => {
    registry.kill('SIGTERM')
    rmSync(root, { recursive: true, force: true })
    compiled[Symbol.dispose]()
  })

  function machine(name: string) {
    const store = join(root, name, 'store')
    mkdirSync(join(root, name), { recursive: true })
    const env = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: join(root, name),
      TSBUILD_ROOT: store,
    }
    const words = (program: string, args: readonly string[]) => [
      '--',
      join(compiled.dist, 'cli', `${program}.js`),
      ...args,
    ]
    const call = (program: string, ...args: string[]) =>
      spawnSync(process.execPath, words(program, args), { cwd: root, env, encoding: 'utf8' })
    const works = (...args: string[]) => {
      const { status, stdout, stderr } = call('tsrun', ...args)
      expect(stderr).toBe('')
      expect(status).toBe(0)
      return stdout
    }
    return {
      store,
      works,
      tsrun: (...args: string[]) => call('tsrun', ...args),
      tsbuild: (...args: string[]) => call('tsbuild', ...args),
      start: (...args: string[]) =>
        spawn(process.execPath, words('tsrun', args), { env, stdio: ['ignore', 'pipe', 'ignore'] }),
      /** The names in a directory of the store. */
      list: (...path: string[]) => readdirSync(join(store, ...path)),
    }
  }

  /** Puts what is none of ours into the folders of a store; which paths `fsck` has to name. */
  function plant(store: string, put: (path: string) => void): string[] {
    const hex = 'a'.repeat(64)
    const [build = ''] = readdirSync(join(store, 'builds'))
    const folders = ['images', 'layers', 'locks', 'leases', 'blobs/sha256', 'records/step']
    const foreign = [
      ...[...folders, `builds/${build}`].flatMap(each => [`${each}/foreign`, `${each}/${hex}`]),
      ...[`images/${hex}.json`, `records/step/${hex}.json`, `ingest/sha256-${hex}`, 'blobs/other'],
    ]
    for (const path of foreign) {
      put(join(store, path))
      // Old enough to be swept.
      execFileSync('touch', ['-h', '-d', '3 days ago', join(store, path)])
    }
    // Where a directory belongs, another is told by what is in it.
    for (const folder of ['snapshots', 'active', 'tmp', 'containers', 'mounts', 'volumes']) {
      mkdirSync(join(store, folder), { recursive: true })
      const path = join(folder, 'foreign')
      execFileSync('mkfifo', [join(store, path)])
      foreign.push(path)
    }
    return foreign
  }

  /** Changes a byte in the middle of a file that nobody may write to. */
  function damage(path: string): void {
    chmodSync(path, 0o644)
    const bytes = readFileSync(path)
    const middle = bytes.length >> 1
    bytes[middle] = (bytes[middle] ?? 0) ^ 1
    writeFileSync(path, bytes)
  }

  /** With the images `base` and `app`: built once, a copy for each. */
  function built(name: string) {
    const original = machine('original')
    if (!existsSync(original.store)) {
      original.works('import', base, 'base')
      const { status, stderr } = original.tsbuild('-q', '-t', 'app', '--network', 'none', 'context')
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    }
    const made = machine(name)
    // What an earlier try of the test left.
    rmSync(made.store, { recursive: true, force: true })
    execFileSync('cp', ['-a', original.store, made.store])
    return made
  }

  /** The directory of the unpacked layer in which `path` is. */
  function layerWith(store: string, path: string): string {
    const name = readdirSync(join(store, 'snapshots')).find(each =>
      existsSync(join(store, 'snapshots', each, 'fs', path)),
    )
    return join(store, 'snapshots', name ?? 'none', 'fs', path)
  }

  test('fsck of a sound store ends with 0, and its table has every byte that du finds', () => {
    const { store, works } = built('sound')
    works('run', '--name', 'box', '--network', 'none', 'app', 'sh', '-c', 'echo x > /x')
    // As in a store that has an ext4 to itself.
    mkdirSync(join(store, 'lost+found'), { mode: 0o700 })
    const stdout = works('fsck')
    expect(stdout).toMatch(/\nNo faults\n$/)
    const { use } = JSON.parse(works('fsck', '--format', 'json'))
    const counted = Object.values(use as Record<string, { bytes: number }>).reduce(
      (sum, { bytes }) => sum + bytes,
      0,
    )
    const du = Number(/^\d+/.exec(execFileSync('du', ['-s', '-B1', store]).toString())?.[0])
    expect(Math.abs(counted - du)).toBeLessThan(16_384)
    expect(use.stray).toEqual({ files: 0, bytes: 0 })
    expect(use.unused.bytes).toBe(0)
    expect(use.containers.bytes).toBeGreaterThan(0)
    expect(works('fsck', '--quick')).toMatch(/\nNo faults\n$/)
  })

  test('a damaged blob of a pulled image is found, removed, and pulled again at the next use', () => {
    const maker = machine('maker')
    maker.works('import', base, `${address}/base:1`)
    maker.works('push', '-q', `${address}/base:1`)
    const { store, works, tsrun, list } = machine('pulled')
    works('pull', '-q', `${address}/base:1`)
    const [largest = ''] = list('blobs/sha256').sort(
      (a, b) =>
        statSync(join(store, 'blobs/sha256', b)).size -
        statSync(join(store, 'blobs/sha256', a)).size,
    )
    damage(join(store, 'blobs/sha256', largest))
    const found = tsrun('fsck')
    expect(found.status).toBe(1)
    expect(found.stdout).toContain(`fault  blob sha256:${largest} has other bytes\n`)
    expect(tsrun('fsck', '--quick').status).toBe(0)
    expect(works('fsck', '--repair')).toMatch(/ — removed\n[\s\S]*\n1 fault, 1 repaired\n$/)
    expect(list('blobs/sha256')).not.toContain(largest)
    expect(works('fsck')).toContain(
      `note   image ${address}/base:1: layer sha256:${largest} is not here`,
    )
    expect(tsrun('run', '--rm', '--pull', 'never', `${address}/base:1`, 'true').status).toBe(125)
    expect(
      tsrun('run', '--rm', '-q', '--network', 'none', `${address}/base:1`, 'true'),
    ).toMatchObject({
      status: 0,
      stderr: '',
    })
    expect(list('blobs/sha256')).toContain(largest)
    expect(works('fsck')).toMatch(/\nNo faults\n$/)
  })

  test('a damaged manifest takes its name with it, and the next pull brings both back', () => {
    const { store, works, tsrun, list } = machine('pulled-document')
    works('pull', '-q', `${address}/base:1`)
    const document = list('blobs/sha256').find(name =>
      readFileSync(join(store, 'blobs/sha256', name), 'latin1').includes('"layers":['),
    )
    damage(join(store, 'blobs/sha256', document ?? ''))
    expect(tsrun('fsck').stdout).toMatch(/fault {2}image localhost:\d+\/base:1: /)
    expect(works('fsck', '--repair')).toContain('2 faults, 2 repaired\n')
    expect(works('fsck')).toContain('No faults\n')
    expect(
      tsrun('run', '--rm', '-q', '--network', 'none', `${address}/base:1`, 'true').status,
    ).toBe(0)
  })

  test.each([
    ['that was built', 'one'],
    ['that came as a tar', 'bin/busybox'],
  ])('an unpacked layer %s whose files changed is found and made again', (_, path) => {
    const { store, works, tsrun } = built(`files-${path.replace('/', '-')}`)
    works('export', '-o', join(root, 'before.tar'), 'app')
    const file = layerWith(store, path)
    const before = readFileSync(file)
    appendFileSync(file, 'changed')
    const { status, stdout } = tsrun('fsck')
    expect(status).toBe(1)
    expect(stdout).toMatch(
      /fault {2}layer sha256:[0-9a-f]{64}: its files are not those of the layer\n/,
    )
    expect(tsrun('fsck', '--quick').status).toBe(0)
    expect(works('fsck', '--repair')).toContain('1 fault, 1 repaired\n')
    expect(works('fsck')).toContain('No faults\n')
    expect(readFileSync(layerWith(store, path)).equals(before)).toBe(true)
    works('export', '-o', join(root, 'after.tar'), 'app')
    expect(
      readFileSync(join(root, 'after.tar')).equals(readFileSync(join(root, 'before.tar'))),
    ).toBe(true)
  })

  test('a damaged layer that a container uses is told, and stays', async () => {
    const { store, works, tsrun, start } = built('used')
    const running = start(
      'run',
      '--rm',
      '--network',
      'none',
      'app',
      'sh',
      '-c',
      'echo up; sleep 60',
    )
    await new Promise(resolve => running.stdout?.once('data', resolve))
    try {
      appendFileSync(layerWith(store, 'one'), 'changed')
      const { status, stdout } = tsrun('fsck', '--repair')
      expect(status).toBe(1)
      expect(stdout).toContain(' — a container or a mounted image uses it\n')
      expect(existsSync(layerWith(store, 'one'))).toBe(true)
    } finally {
      running.kill('SIGKILL')
      await pause(200)
    }
    works('ps')
    expect(works('fsck', '--repair')).toContain('1 fault, 1 repaired\n')
  })

  test('what belongs to nothing is told; --repair removes it, but not what may be yours', () => {
    const { store, works, tsrun, list } = built('strays')
    mkdirSync(join(store, 'snapshots/half/fs'), { recursive: true })
    writeFileSync(join(store, 'blobs/sha256/note'), 'x')
    writeFileSync(join(store, 'notes.txt'), 'mine')
    const [record = ''] = list('images')
    writeFileSync(join(store, 'images', record), '{')
    const { status, stdout } = tsrun('fsck')
    expect(status).toBe(1)
    expect(stdout).toContain(`fault  images/${record} cannot be read\n`)
    for (const path of ['snapshots/half', 'blobs/sha256/note', 'notes.txt']) {
      expect(stdout).toContain(`fault  ${path} belongs to nothing\n`)
    }
    expect(tsrun('fsck', '--repair').stdout).toContain('4 faults, 3 repaired\n')
    expect(list('snapshots')).not.toContain('half')
    expect(list()).toContain('notes.txt')
    rmSync(join(store, 'notes.txt'))
    expect(works('fsck')).toContain('No faults\n')
  })

  test.each([
    ['directory', (path: string) => mkdirSync(join(path, 'x'), { recursive: true })],
    ['link to nowhere', (path: string) => symlinkSync('/nowhere', path)],
    ['link to itself', (path: string) => symlinkSync(basename(path), path)],
    ['FIFO', (path: string) => execFileSync('mkfifo', [path])],
  ] as const)('a %s in the folders of a store stops nothing, and is told', (_, put) => {
    const { store, works, tsrun, tsbuild } = built('foreign')
    const foreign = plant(store, put)
    for (const args of [['images'], ['ps', '-a'], ['df'], ['volume', 'ls'], ['mount']])
      works(...args)
    expect(works('run', '--rm', '--network', 'none', 'app', 'cat', '/one')).toBe('one\n')
    expect(tsbuild('-q', '--no-cache', '--network', 'none', 'context').status).toBe(0)
    for (const args of [['history'], ['why'], ['logs', '2'], ['du']]) {
      expect(tsbuild(...args).status).toBe(0)
    }
    for (const flags of [['--quick'], []]) {
      const { status, stdout } = tsrun('fsck', ...flags)
      expect(status).toBe(1)
      for (const path of foreign) expect(stdout).toContain(`fault  ${path} `)
    }
    works('prune', '--force')
    works('fsck', '--repair')
    expect(works('fsck')).toContain('No faults\n')
    expect(works('images')).toContain('app')
  })

  test('a container whose layers are gone is told', () => {
    const { store, works, tsrun } = built('orphan')
    works('run', '--name', 'box', '--network', 'none', 'app', 'true')
    rmSync(join(layerWith(store, 'two'), '../..'), { recursive: true })
    const { status, stdout } = tsrun('fsck', '--quick')
    expect(status).toBe(1)
    expect(stdout).toMatch(
      /fault {2}containers\/[0-9a-f]{64}: the layer it builds on, sha256:\S+, is gone\n/,
    )
  })

  test('gc takes what nothing uses, says how much that was, and leaves the rest usable', () => {
    const { store, works, list, tsbuild } = built('gc')
    mkdirSync(join(store, 'ingest'), { recursive: true })
    writeFileSync(join(store, `ingest/sha256-${'0'.repeat(64)}`), Buffer.alloc(2_000_000))
    expect(works('df')).toMatch(/\nUnfinished downloads +2MB +2MB\n/)
    expect(works('gc', '-f')).toMatch(
      /^Removed 0 images, 0 cached steps, .*\nTotal reclaimed space: 2\.?\d*MB\n$/,
    )
    expect(list('ingest')).toEqual([])
    works('run', '--name', 'box', '--network', 'none', 'app', 'true')
    works('rmi', '-f', 'app')
    works('rmi', 'base')
    expect(works('system', 'prune', '-af')).toMatch(/Removed .* 2 cached steps/)
    // The container still builds on them.
    expect(existsSync(layerWith(store, 'two'))).toBe(true)
    works('rm', 'box')
    expect(works('gc', '--all', '--force', '--verbose')).toMatch(
      /^layer sha256:[\s\S]*\nTotal reclaimed space: [4-9][\d.]*MB\n$/,
    )
    expect(list('snapshots')).toEqual([])
    expect(list('blobs/sha256')).toEqual([])
    expect(list('trash')).toEqual([])
    works('import', base, 'base')
    expect(tsbuild('-q', '--network', 'none', 'context').status).toBe(0)
    expect(works('fsck')).toContain('No faults\n')
  })

  test('du tells what the build cache holds, and prune --max-used-space makes it fit', () => {
    const { works, tsbuild, tsrun } = built('cache')
    const du = works('du')
    expect(du).toMatch(/^ID .*LAST USED\n/)
    expect(du).toMatch(/Reclaimable: 0B\nTotal: [3-9][\d.]*MB\n$/)
    works('rmi', '-f', 'app')
    expect(works('du')).toMatch(/\nReclaimable: 6(\.\d+)?MB\nTotal: /)
    expect(works('prune', '-f', '--max-used-space', '100m')).toContain(' 0 cached steps')
    // The oldest first: the newest alone is too large, so both go, with the blob made of it.
    expect(works('prune', '-f', '--keep-storage', '1m')).toMatch(
      / 2 cached steps, 2 unpacked layers,[\s\S]*space: 6(\.\d+)?MB\n$/,
    )
    expect(works('du')).not.toContain('3MB')
    expect(tsbuild('-q', '-t', 'app', '--network', 'none', 'context').status).toBe(0)
    expect(works('prune', '-f', '--filter', 'until=1h')).toContain(' 0 cached steps')
    expect(tsrun('du', '--filter', 'size=3').status).toBe(125)
    expect(works('du', '--filter', 'until=1h')).toContain('Total: 0B\n')
  })

  test('gc takes nothing from a build that runs, and frees the rest at once', async () => {
    const { store, works } = built('busy')
    // The first step was built before, and nothing but the running build counts on it then.
    writeFileSync(
      join(root, 'context/slow'),
      'FROM base\nRUN echo one > /one\nRUN echo new > /new\nRUN sleep 3; cat /one /new\nRUN cat /new\n',
    )
    works('rmi', '-f', 'app')
    const words = ['-q', '--network', 'none', '-f', 'context/slow', '-t', 'slow', 'context']
    const building = spawn(process.execPath, [join(compiled.dist, 'cli/tsbuild.js'), ...words], {
      cwd: root,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: root, TSBUILD_ROOT: store },
    })
    const ended = new Promise(resolve => building.once('exit', resolve))
    const layers = () => ['one', 'two', 'new'].filter(path => existsSync(layerWith(store, path)))
    try {
      // A layer that is there is held: its builder holds it before others can see it.
      await expect.poll(layers, { timeout: 20_000 }).toEqual(['one', 'two', 'new'])
      expect(works('gc', '-af', '--timeout', '0s')).toContain(
        'Removed 0 images, 1 cached step, 1 unpacked layer, 1 blob\n',
      )
      expect(layers()).toEqual(['one', 'new'])
      expect(works('fsck')).toContain('No faults\n')
      expect(building.exitCode).toBeNull()
      expect(await ended).toBe(0)
    } finally {
      building.kill()
      await ended
    }
    expect(works('run', '--rm', 'slow', 'cat', '/one', '/new')).toBe('one\nnew\n')
    expect(works('fsck')).toContain('No faults\n')
  })
})
