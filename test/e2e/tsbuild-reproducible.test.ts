/** The same inputs give the same digests: other places, times, users, umasks, stores and threads. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeRepository } from '../support/git-server.ts'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { checkout, openWorkspace, type Store } from './workspace.ts'

const dockerfile = `
FROM busybox AS build
COPY --chmod=644 source /src/source
RUN mkdir -p /out/deep && cp /src/source /out/deep/copy && ln /out/deep/copy /out/link \\
 && head -c 3000000 /dev/zero | tr '\\0' 'x' > /out/large
FROM busybox
WORKDIR /app
COPY --from=build /out /app
RUN touch made-now && rm /bin/yes; true
LABEL a=b
`

const clamped = [
  ...['--build-arg', 'SOURCE_DATE_EPOCH=1700000000'],
  ...['-o', 'type=image,rewrite-timestamp=true'],
]

const program = join(checkout, 'dist/cli/tsbuild.js')
const user = 4000
const asUser = ['setpriv', '--reuid', `${user}`, '--regid', `${user}`, '--clear-groups']

/** Whether this machine lets users make namespaces, and read this checkout. */
function hasOtherUsers(): boolean {
  const [name = '', ...flags] = asUser
  const script = 'unshare -U true && "$0" "$1" --version'
  return spawnSync(name, [...flags, 'sh', '-c', script, process.execPath, program]).status === 0
}

describeWith(['root', 'build', 'busybox', 'git'], 'a reproducible build', () => {
  const work = openWorkspace('reproducible')
  let store: Store
  let other: Store
  let checkouts: readonly string[]
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    const archive = work.path('busybox-image.tar')
    await store.tsbuild(['save', '-o', archive, 'busybox'])
    other = work.store('other-store')
    await other.tsbuild(['load', '-i', archive])
    const first = work.write('a', { Dockerfile: dockerfile, source: 'text\n' })
    const second = work.path('somewhere/else/b')
    cpSync(first, second, { recursive: true })
    chmodSync(join(first, 'source'), 0o600)
    chmodSync(join(second, 'source'), 0o664)
    chownSync(join(second, 'source'), 1234, 5678)
    const later = new Date('2031-01-01')
    utimesSync(join(second, 'source'), later, later)
    checkouts = [first, second]
  })
  afterAll(() => work.close())

  interface Place {
    readonly store: Store
    readonly context: string
    readonly threads: string
  }
  const digestOf = async ({ store: from, context, threads }: Place, args: readonly string[]) => {
    const metadata = work.path('metadata')
    const options = { env: { UV_THREADPOOL_SIZE: threads } }
    await from.tsbuild([...args, '--metadata-file', metadata, context], options)
    return JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest']
  }

  test('O11 SOURCE_DATE_EPOCH and rewrite-timestamp=true: the same digest everywhere', async () => {
    const [first = '', second = ''] = checkouts
    const digest = await digestOf({ store, context: first, threads: '1' }, clamped)
    expect(await digestOf({ store: other, context: second, threads: '8' }, clamped)).toBe(digest)
    expect(await digestOf({ store, context: first, threads: '4' }, clamped)).toBe(digest)
    const plain = ['--build-arg', 'SOURCE_DATE_EPOCH=1700000000']
    expect(await digestOf({ store, context: first, threads: '4' }, plain)).not.toBe(digest)
  })

  test.skipIf(!hasOtherUsers())('another user with another umask gets it too', async () => {
    const [, context = ''] = checkouts
    for (const path of [work.directory, context]) chmodSync(path, 0o755)
    const home = work.path('other-home')
    mkdirSync(home)
    chownSync(home, user, user)
    const env = { ...work.env, HOME: home, TMPDIR: home, TSBUILD_ROOT: join(home, 'store') }
    const build = async (umask: string, threads: string) => {
      const script = 'umask "$0"; "$@"'
      const tsbuild = async (...args: string[]) => {
        const command = [...asUser, 'sh', '-c', script, umask, process.execPath, program, ...args]
        const [name = '', ...rest] = command
        await run(name, rest, { env: { ...env, UV_THREADPOOL_SIZE: threads } })
      }
      await tsbuild('load', '-i', work.path('busybox-image.tar'))
      const metadata = join(home, 'metadata')
      await tsbuild('--network', 'none', ...clamped, '--metadata-file', metadata, context)
      rmSync(env.TSBUILD_ROOT, { recursive: true })
      return JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest']
    }
    const digest = await digestOf({ store, context, threads: '2' }, clamped)
    expect(await build('077', '3')).toBe(digest)
    expect(await build('000', '1')).toBe(digest)
  })

  test('no time of the image is later, those of the base are its own, and it runs', async () => {
    const [context = ''] = checkouts
    const args = ['-o', 'type=image,name=clamped,rewrite-timestamp=true', context]
    await other.tsbuild(args, { env: { SOURCE_DATE_EPOCH: '1700000000' } })
    const [{ Created, RootFS }] = JSON.parse((await other.tsbuild(['inspect', 'clamped'])).stdout)
    expect(Created).toBe('2023-11-14T22:13:20.000Z')
    const [base] = JSON.parse((await other.tsbuild(['inspect', 'busybox'])).stdout)
    expect(RootFS.Layers[0]).toBe(base.RootFS.Layers[0])
    const command = ['stat', '-c', '%Y %h', '/app/made-now', '/app/deep/copy']
    const ran = await other.tsrun(['--rm', '--network', 'none', 'clamped', ...command])
    expect(ran.stdout).toBe('1700000000 1\n1700000000 2\n')
  })

  test('files that are written out are no later either, with no option', async () => {
    const [context = ''] = checkouts
    const directory = work.path('files')
    const archive = work.path('files.tar')
    const outputs = ['-o', `type=local,dest=${directory}`, '-o', `type=tar,dest=${archive}`]
    await other.tsbuild([...outputs, context], { env: { SOURCE_DATE_EPOCH: '1700000000' } })
    for (const path of ['app/made-now', 'app/deep', 'app']) {
      expect(statSync(join(directory, path)).mtimeMs).toBe(1_700_000_000_000)
    }
    const { stdout } = await run('tar', ['--utc', '--full-time', '-tvf', archive, 'app/made-now'])
    expect(stdout).toContain('2023-11-14 22:13:20')
  })

  test('--reproducible takes the time of the context', async () => {
    const [context = ''] = checkouts
    utimesSync(join(context, 'source'), 1_600_000_000, 1_600_000_000)
    utimesSync(join(context, 'Dockerfile'), 1_600_000_001, 1_600_000_001)
    const digest = await digestOf({ store, context, threads: '2' }, ['--reproducible'])
    const uncached = ['--reproducible', '--no-cache']
    expect(await digestOf({ store: other, context, threads: '3' }, uncached)).toBe(digest)
  })

  test('A09 --reproducible takes the time of the commit, for a context that is a repository', async () => {
    makeRepository(work.path('repository'), { Dockerfile: 'FROM scratch\nCOPY . /s/', f: 'f' })
    const context = `file://${work.path('repository')}/.git`
    const archive = work.path('repository.tar')
    const args = ['--reproducible', '-o', `type=tar,dest=${archive}`]
    const digest = await digestOf({ store, context, threads: '2' }, ['--reproducible'])
    expect(await digestOf({ store: other, context, threads: '3' }, ['--reproducible'])).toBe(digest)
    await store.tsbuild([...args, context])
    const { stdout } = await run('tar', ['--utc', '--full-time', '-tvf', archive])
    expect(stdout.match(/2001-09-09 01:46:40/g)).toHaveLength(3)
  })

  test('--verify-reproducible is silent about what is, and names the files of what is not', async () => {
    const [context = ''] = checkouts
    await store.tsbuild(['--verify-reproducible', '-t', 'verified', context])
    const text =
      'FROM busybox\nRUN echo same > /same; cat /proc/sys/kernel/random/uuid > /id; mkdir "/d$(cat /proc/sys/kernel/random/uuid)"\n'
    const bad = work.write('bad', { Dockerfile: text })
    const { code, stderr } = await store.attempt('tsbuild', [
      '--verify-reproducible',
      '-t',
      'bad',
      bad,
    ])
    expect(code).toBe(1)
    expect(stderr).toContain('Two builds of the same differ in 1 step:')
    expect(stderr).toContain('/id: content\n')
    expect(stderr).toMatch(/^ {4}\/d[0-9a-f-]{36}\/?: only in one$/m)
    expect(stderr).not.toContain('/same:')
    expect((await store.attempt('tsbuild', ['inspect', 'bad'])).code).toBe(1)
  })
})
