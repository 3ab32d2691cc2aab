import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['root', 'busybox'], 'RUN --mount', () => {
  let shop: Workshop
  beforeAll(async () => {
    shop = await openWorkshop()
    shop.write({ 'a.txt': 'A\n', 'dir/one': '1\n', 'dir/sub/two': '2\n', 'odd[1]': 'odd\n' })
  })
  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  it('R09 shows the build context, read-only, without what .dockerignore names', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN --mount=target=/ctx find /ctx -type f | sort; touch /ctx/x || echo refused',
      { ignore: 'dir/sub\n' },
    )
    expect(built.log).toContain('/ctx/a.txt\n/ctx/dir/one\n/ctx/odd[1]\n')
    expect(built.log).toContain('refused\n')
    expect(built.root.exists('/ctx')).toBe(false)
  })

  it('R09 shows a directory or a single file of the context, whatever its name', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN --mount=source=dir/sub,target=/d --mount=type=bind,src=odd[1],dst=/etc/new/odd cat /d/two /etc/new/odd',
    )
    expect(built.log).toBe('2\nodd\n')
    expect(built.root.exists('/etc/new')).toBe(false)
  })

  it('R09 lets rw mounts be written to, and forgets it', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN --mount=target=/ctx,rw echo changed > /ctx/a.txt; cat /ctx/a.txt\nRUN --mount=target=/ctx cat /ctx/a.txt',
    )
    expect(built.log).toBe('changed\nA\n')
    expect(readFileSync(join(shop.directory, 'context/a.txt'), 'utf8')).toBe('A\n')
    expect(readdirSync(join(shop.directory, 'store/active'))).toEqual([])
  })

  it('R09 R16 shows a stage, an image and nothing at all', async () => {
    using built = await shop.build(
      'FROM busybox AS tools\nRUN mkdir /t && echo tool > /t/f && ln -s /t /link\nFROM busybox\nRUN --mount=from=tools,source=/link,target=/t cat /t/f; rm /t/f || true\nRUN --mount=from=busybox,source=/etc/group,target=/g head -1 /g\nRUN --mount=from=scratch,target=/none ls /none | wc -l',
    )
    expect(built.log).toContain('tool\n')
    expect(built.log).toContain('root:x:0:\n')
    expect(built.log).toMatch(/^0$/m)
  })

  it('R09 never leads out of what it shows', async () => {
    const stage = 'FROM busybox AS s\nRUN ln -s /../../../../etc/hostname /out && ln -s /etc /in\n'
    await expect(
      shop.build(`${stage}FROM busybox\nRUN --mount=from=s,source=/out,target=/m cat /m`),
    ).rejects.toThrow('"/out": not found')
    using built = await shop.build(
      `${stage}FROM busybox\nRUN --mount=from=s,source=/in/../etc/group,target=/m head -1 /m`,
    )
    expect(built.log).toBe('root:x:0:\n')
  })

  it('R09 refuses a source that is not there, pointing at the RUN', async () => {
    await expect(
      shop.build('FROM busybox\nRUN --mount=source=nothere,target=/m true'),
    ).rejects.toMatchObject({
      message: expect.stringContaining('"/nothere": not found'),
      excerpt: expect.stringContaining('>>> RUN --mount=source=nothere'),
    })
  })

  it('R14 takes a relative target from WORKDIR, lays mounts within mounts and the last one on top', async () => {
    using built = await shop.build(
      'FROM busybox\nWORKDIR /w\nRUN --mount=type=tmpfs,target=/m/dir --mount=target=/m ls -A /m/dir | wc -l; ls /m\nRUN --mount=source=a.txt,target=f --mount=source=dir/one,target=/w/f cat f',
    )
    expect(built.log).toContain('0\n')
    expect(built.log).toContain('a.txt\n')
    expect(built.log.endsWith('1\n')).toBe(true)
    expect(built.root.exists('/w/f')).toBe(false)
  })

  it('R15 leaves no mount point behind and gives directories their times back', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN --mount=source=a.txt,target=/etc/deep/er/a true\nRUN --mount=target=/etc true',
    )
    expect(built.root.exists('/etc/deep')).toBe(false)
    expect(built.root.stat('/etc', 'keep').mtime.seconds).toBe(0)
  })

  it('K02 runs again when what a mount shows changed, and only then', async () => {
    const dockerfile =
      'FROM busybox\nRUN --mount=source=dir,target=/m cat /m/one\nRUN --mount=source=a.txt,target=/m cat /m'
    shop.write({ 'dir/one': 'first\n' })
    using first = await shop.build(dockerfile)
    using again = await shop.build(dockerfile)
    expect(first.log).toContain('first\n')
    expect(again.worked).toEqual([])
    expect(again.result.layers).toEqual(first.result.layers)
    shop.write({ 'dir/one': 'second\n', unrelated: 'x' })
    using changed = await shop.build(dockerfile)
    expect(changed.log).toContain('second\n')
    expect(changed.misses).toContainEqual(expect.stringMatching(/one: content/))
  })

  it('K02 does not run again for a stage that ran again with the same files', async () => {
    const dockerfile = (extra: string) =>
      `FROM busybox AS s\nRUN mkdir /o && echo same > /o/f${extra}\nFROM busybox\nRUN --mount=from=s,source=/o,target=/m cat /m/f`
    using _first = await shop.build(dockerfile(''))
    using again = await shop.build(dockerfile(' && echo more > /elsewhere'))
    expect(again.worked).toHaveLength(1)
  })

  it('R10 fills a new cache from a stage, once for each content', async () => {
    const dockerfile = (seed: string) =>
      `FROM busybox AS s\nRUN mkdir /seed && echo ${seed} > /seed/f && chown 5:6 /seed/f\nFROM busybox\nRUN --mount=type=cache,id=seeded,from=s,source=/seed,target=/c cat /c/f; stat -c %u:%g /c/f; echo run >> /c/runs; wc -l < /c/runs`
    using first = await shop.build(dockerfile('one'))
    expect(first.log).toBe('one\n5:6\n1\n')
    using again = await shop.build(dockerfile('one'), { rerun: 'all' })
    expect(again.log).toMatch(/^one\n5:6\n/)
    using other = await shop.build(dockerfile('two'))
    expect(other.log).toBe('two\n5:6\n1\n')
    expect(other.root.exists('/c')).toBe(false)
  })
})
