import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { PlainCopy } from '../../../src/layerfs/layer/copied-changes.ts'
import { copyTree } from '../../../src/layerfs/layer/copy.ts'
import type { CopyFilter } from '../../../src/layerfs/layer/copy-options.ts'
import { diffLayer, hashDiff } from '../../../src/layerfs/layer/diff.ts'
import { packCopy } from '../../../src/layerfs/layer/pack-copy.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import type { RootMount } from '../../../src/layerfs/mount.ts'
import { listingOf } from '../../../src/layerfs/native/listing.ts'
import { describeWith } from '../../support/requires.ts'

let base: string
const at = (...names: string[]): string => join(base, ...names)

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'pack-test-'))
  for (const name of ['context', 'lower', 'upper', 'work']) mkdirSync(at(name))
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

function sh(script: string): void {
  execFileSync('sh', ['-ec', script], { cwd: base, stdio: 'pipe' })
}

const owner = { uid: 0, gid: 0 }
const signal = new AbortController().signal

interface Asked {
  /** In the lower directory. */
  readonly to?: string
  readonly filter?: CopyFilter
  readonly lookOf?: NonNullable<PlainCopy['lookOf']>
  readonly limit?: number
}

/** From `context` to `to` in the filesystem of `lower` alone. */
async function packed({ to = '/', limit = 2 ** 24, ...more }: Asked, seconds: number) {
  using from = openRoot({ kind: 'directory', path: at('context'), readOnly: true })
  using root = openRoot({ kind: 'directory', path: at('lower'), readOnly: true })
  const time = { seconds, nanoseconds: 0 }
  const copy = { from: { root: from, path: '/' }, to: { root, path: to }, owner, time, ...more }
  const tar = at('layer.tar')
  rmSync(tar, { force: true })
  const hashed = await packCopy(copy, { tar, limit, signal })
  return hashed === undefined ? undefined : { hashed, tar: readFileSync(tar) }
}

/** The same, copied and compared, within one second: what is made has that time. */
async function copied({ to = '/', filter }: Asked) {
  const [lower, upper] = [[at('lower')], at('upper')]
  for (;;) {
    for (const name of ['upper', 'work']) {
      rmSync(at(name), { recursive: true, force: true })
      mkdirSync(at(name))
    }
    // The kernel gives files the time of its last tick.
    const seconds = Math.floor((Date.now() - 50) / 1000)
    copyInto({ kind: 'overlay', lower, upper, work: at('work') }, { to, filter })
    if (Math.floor(Date.now() / 1000) !== seconds) continue
    const tar = Buffer.concat([...diffLayer({ upper, lower })])
    return { hashed: await hashDiff({ upper, lower }), tar, seconds }
  }
}

function copyInto(
  mount: RootMount,
  { to, filter }: { readonly to: string; readonly filter: CopyFilter | undefined },
): void {
  using from = openRoot({ kind: 'directory', path: at('context'), readOnly: true })
  using root = openRoot(mount)
  const options = {
    owner,
    emptySockets: true,
    ...(filter === undefined ? {} : { filter }),
  } as const
  copyTree({ root: from, path: '/' }, { root, path: to }, options)
}

async function expectSame(asked: Asked): Promise<void> {
  const { seconds, ...expected } = await copied(asked)
  const found = await packed(asked, seconds)
  expect(found?.hashed).toEqual(expected.hashed)
  expect(found?.tar.equals(expected.tar)).toBe(true)
}

/** Names of all kinds, a link, modes, owners, a file that no chunk holds, empty ones, many. */
const everything = `
  cd context; mkdir -p a/b/c "with space" empty .hidden
  for i in $(seq 1 300); do echo $i > a/file-$i; done
  head -c 700000 /dev/urandom > a/b/large; head -c 131073 /dev/zero > a/b/beyond; : > a/b/nothing
  truncate -s 300000 a/b/holes; echo end >> a/b/holes
  echo x > $(printf 'a/b/c/caf\\303\\251'); echo x > $(printf 'a/b/c/\\377')
  echo x > a/$(printf 'n%.0s' $(seq 1 200)); mkdir -p a/$(printf 'd%.0s' $(seq 1 120)); ln -s ../nowhere a/b/l
  echo x > a/$(printf 'd%.0s' $(seq 1 120))/f
  echo s > a/setuid; chmod 4755 a/setuid; chmod 700 a/b; chmod 1777 empty; chown -h 12:34 a a/file-7 a/b/l
  touch -d @1000000000.5 a/file-3 a/b; touch -d 1960-01-01 a/file-4; touch -d 2300-01-01 a/file-5`

describeWith(['root'], 'packCopy() gives the tar of the copy', () => {
  test.each([
    ['in an empty root', '/', ''],
    [
      'in an empty directory',
      '/app',
      'mkdir -m 711 lower/app; touch -d @5 lower/app; chown 3:4 lower/app',
    ],
    ['in one below others', '/usr/src/app', 'mkdir -p lower/usr/src/app; echo 1 > lower/usr/other'],
    ['in a new one', '/app', 'echo 1 > lower/other'],
    ['in one with new ones above', '/a/new/one', 'mkdir -p -m 750 lower/a; touch -d @7 lower/a'],
  ])('%s', async (_, to, script) => {
    sh(script)
    sh(everything)
    await expectSame({ to })
  })

  test('of a source that has nothing', async () => {
    sh('mkdir lower/there')
    for (const to of ['/', '/there', '/new']) {
      if (to === '/') sh('rmdir lower/there')
      await expectSame({ to })
      sh('mkdir -p lower/there')
    }
  })

  test('of what a filter takes', async () => {
    sh(everything)
    sh(
      'mkdir -p context/only/deep/er context/none/deep; echo 1 > context/only/deep/er/wanted; echo 2 > context/none/deep/not',
    )
    const kept = /file-.*7$|wanted$|large|hidden/
    const descended = /^(only|none)(\/|$)/
    const filter: CopyFilter = (path, kind) => {
      if (kept.test(path)) return 'keep'
      if (kind === 'directory') return descended.test(path) ? 'descend' : 'keep'
      return 'drop'
    }
    await expectSame({ filter })
    await expectSame({ filter, to: '/new' })
  })

  test('of any tree', async () => {
    const name = fc.constantFrom('a', 'b', 'c.d', 'z')
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map(names => names.join('/'))
    const make = fc.constantFrom(
      (p: string) => `mkdir -p ${p}`,
      (p: string) => `mkdir -p $(dirname ${p}); echo ${p} > ${p}`,
      (p: string) => `mkdir -p $(dirname ${p}); ln -s ${p} ${p}`,
      (p: string) => `mkdir -p $(dirname ${p}); seq 1 9999 > ${p}; chmod 600 ${p}; chown 5 ${p}`,
    )
    const steps = fc.array(fc.tuple(path, make), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(steps, fc.constantFrom('/', '/to'), async (made, to) => {
        sh('rm -rf context; mkdir context')
        const script = made.map(([p, by]) => `(${by(p)}) 2>/dev/null || :`).join('\n')
        sh(`cd context\n${script}`)
        await expectSame({ to })
      }),
      { numRuns: 25 },
    )
  })
})

describeWith(['root'], 'packCopy() leaves to the copy', () => {
  test.each([
    ['two names of a file', 'ln f g'],
    ['a FIFO', 'mkfifo p'],
    ['a socket', 'python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\'s\')"'],
    ['a device', 'mknod n c 0 0'],
    ['attributes of a file', 'setfattr -n user.a -v 1 f'],
    ['attributes of a directory', 'setfattr -n user.a -v 1 d'],
    ['a name that a layer reserves', 'echo 1 > d/.wh.f'],
  ])('%s', async (_, script) => {
    sh('cd context; mkdir d; echo 1 > f; echo 2 > d/f')
    expect(await packed({}, 0)).toBeDefined()
    sh(`cd context; ${script}`)
    expect(await packed({}, 0)).toBeUndefined()
  })

  test.each([
    ['that has something', '/d', 'mkdir d; echo 1 > d/f'],
    ['that is a file', '/d', 'echo 1 > d'],
    ['behind a link', '/l/d', 'mkdir -p real; ln -s real l'],
  ])('a destination %s', async (_, to, script) => {
    sh(`echo 1 > context/f; cd lower; ${script}`)
    expect(await packed({ to }, 0)).toBeUndefined()
  })

  test('what has more bytes than it may', async () => {
    sh('seq 1 100000 > context/f')
    expect(await packed({ limit: 2 ** 19 }, 0)).toBeUndefined()
    expect(await packed({ limit: 2 ** 20 }, 0)).toBeDefined()
  })

  const large = 'head -c 600000 /dev/zero'
  test.each([
    ['grew', 'echo more >> f'],
    ['became shorter', ': > f'],
    ['is gone', 'rm f'],
    ['is a link', 'ln -sf /etc/passwd f'],
    ['is a directory', 'rm f; mkdir f'],
    ['is a FIFO', 'rm f; mkfifo f'],
    ['has attributes', 'setfattr -n user.a -v 1 f'],
    ['was empty, and is not', 'echo now > nothing'],
    ['is large, and another', `${large} > large`],
  ])('a file that %s since it was listed', async (_, script) => {
    sh(`cd context; echo 12345 > f; : > nothing; ${large} > large`)
    using root = openRoot({ kind: 'directory', path: at('context'), readOnly: true })
    const listing = listingOf(root.fd)
    const lookOf = () => listing
    expect(await packed({ lookOf }, 0)).toBeDefined()
    sh(`cd context; ${script}`)
    expect(await packed({ lookOf }, 0)).toBeUndefined()
  })
})
