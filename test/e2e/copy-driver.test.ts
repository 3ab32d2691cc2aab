/** Without overlayfs: the same images, containers that keep what they wrote, and a word about it. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { openWorkspace, type Store } from './workspace.ts'

const dockerfile = `
FROM busybox AS a
RUN mkdir -p /x/y /v1 /v2 && echo hi > /x/y/f && ln /x/y/f /x/g && chmod 4755 /x/g && mkfifo /x/p \\
 && echo 1 > /v1/same && echo 2 > /v2/same && touch -d @1000 /v1/same /v2/same
RUN rm -rf /x/y && mkdir /x/y && echo two > /x/y/n && touch /etc/passwd && rm /etc/group
RUN mv /x /z && ln -s /z /x && echo more >> /etc/passwd
RUN mv /v1 /v && mv /v2 /v1 && mv /v /v2
FROM a
COPY --from=a /z /copied
COPY --link --from=a /v1 /linked
RUN cat /linked/same /copied/y/n > /read && rm -r /copied/y
WORKDIR /w/o
`

describeWith(['root', 'build', 'busybox'], 'TSBUILD_SNAPSHOTTER=copy', () => {
  const work = openWorkspace('copies')
  let copy: Store
  let overlay: Store
  let context: string
  const copying = { env: { TSBUILD_SNAPSHOTTER: 'copy' } }
  beforeAll(async () => {
    copy = await work.storeWithBusybox('copy')
    overlay = await work.storeWithBusybox('overlay')
    context = work.write('context', { Dockerfile: dockerfile })
  })
  afterAll(() => work.close())

  const build = async (store: Store, env: Record<string, string>) => {
    const output = 'type=image,name=app,rewrite-timestamp=true'
    await store.tsbuild(['-q', '-o', output, context], {
      env: { SOURCE_DATE_EPOCH: '1700000000', ...env },
    })
    const { stdout } = await store.tsrun(['inspect', 'app'], { env })
    return JSON.parse(stdout)[0].RootFS.Layers
  }

  test('makes the same layers as overlayfs, and leaves a store without faults', async () => {
    const layers = await build(copy, copying.env)
    expect(layers).toEqual(await build(overlay, { TSBUILD_SNAPSHOTTER: 'overlay' }))
    const { stdout } = await copy.tsrun(['fsck'], copying)
    expect(stdout).toMatch(/No faults\n$/)
  })

  test('runs containers that keep what they wrote, and show it', async () => {
    const script = 'cat /v1/same; echo new > /new; rm /etc/passwd; test ! -e /etc/group'
    const ran = await copy.tsrun(['run', '--name', 'kept', 'app', 'sh', '-c', script], copying)
    expect(ran.stdout).toBe('2\n')
    const { stdout: changes } = await copy.tsrun(['diff', 'kept'], copying)
    expect(changes.split('\n')).toEqual(expect.arrayContaining(['A /new', 'D /etc/passwd']))
    expect(changes).not.toContain('/v1')
    const tar = work.path('kept.tar')
    await copy.tsrun(['export', '-o', tar, 'kept'], copying)
    const { stdout } = await run('tar', ['-xOf', tar, 'new'])
    expect(stdout).toBe('new\n')
    await copy.tsrun(['rm', 'kept'], copying)
  })

  test('mounts an image read-only, and unmounts it', async () => {
    const directory = work.path('mounted')
    await copy.tsrun(['mount', 'app', directory], copying)
    expect(readFileSync(join(directory, 'v1/same'), 'utf8')).toBe('2\n')
    expect(() => mkdirSync(join(directory, 'new'))).toThrow('EROFS')
    const { stdout } = await copy.tsrun(['mount'], copying)
    expect(stdout).toContain(directory)
    await copy.tsrun(['umount', directory], copying)
    expect(() => readFileSync(join(directory, 'v1/same'))).toThrow('ENOENT')
  })

  test('is chosen, and told, where the store is on an overlay itself', async () => {
    const [lower, upper, scratch, merged] = ['lower', 'upper', 'scratch', 'merged'].map(name => {
      mkdirSync(work.path(name))
      return work.path(name)
    })
    const program = join(import.meta.dirname, '../../dist/cli/tsrun.js')
    const script = `mount -t overlay overlay -o lowerdir=${lower},upperdir=${upper},workdir=${scratch} ${merged}
      export TSBUILD_ROOT=${merged}/store
      "$0" load -q -i ${work.path('saved.tar')} >/dev/null && "$0" run --rm busybox echo works &&
      "$(dirname "$0")/tsbuild.js" -q --network none -t less ${work.path('removing')} >/dev/null &&
      "$0" run --rm less sh -c 'test ! -e /etc/group && test ! -e /new && ls /kept' &&
      "$0" diff less | grep '^D' && "$0" fsck | tail -n 1`
    // The kernel makes no whiteouts on an overlay.
    const removing =
      'FROM busybox\nRUN rm /etc/group && mkdir /new /kept\nRUN rm -r /new /kept && mkdir /kept && touch /kept/f\n'
    work.write('removing', { Dockerfile: removing })
    await copy.tsrun(['save', '-o', work.path('saved.tar'), 'busybox'])
    const { stdout, stderr } = await run('unshare', ['-m', 'sh', '-c', script, program], {
      env: work.env,
    })
    expect(stdout).toBe('works\nf\nD /new\nNo faults\n')
    expect(stderr).toMatch(
      /^(Warning: overlayfs cannot be had in .*: files are copied instead, which takes time and space\n){6}$/,
    )
  })

  test('refuses a driver that there is none of', async () => {
    const env = { TSBUILD_SNAPSHOTTER: 'btrfs' }
    expect(await copy.attempt('tsrun', ['images'], { env })).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('TSBUILD_SNAPSHOTTER="btrfs": expected overlay or copy'),
    })
  })
})
