import { chmodSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forgetSteps } from '../../../src/builder/forget-steps.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('why a step runs (needs root)', () => {
  let shop: Workshop

  beforeAll(async () => {
    shop = await openWorkshop()
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  /** Why the steps of `after` run when `before` was built before it. */
  async function misses(before: string, after: string, change: () => unknown = () => undefined) {
    using _first = await shop.build(before)
    await change()
    using second = await shop.build(after)
    return second.misses
  }

  it('K01 is a first build, until there was one', async () => {
    using first = await shop.build('FROM busybox AS novel\nRUN echo novel')
    expect(first.misses).toEqual(['never built here before'])
    using again = await shop.build('FROM busybox AS novel\nRUN echo novel')
    expect(again.misses).toEqual([])
  })

  it('K04 names the files whose content, mode or type changed, that came and that went', async () => {
    shop.write({ 'src/a': '1', 'src/b': '2', 'src/c': '3', 'src/d': '4' })
    const copy = 'FROM scratch AS files\nCOPY src /src'
    const found = await misses(copy, copy, () => {
      shop.write({ 'src/a': 'other' })
      chmodSync(join(shop.directory, 'context/src/b'), 0o755)
      rmSync(join(shop.directory, 'context/src/c'))
      shop.write({ 'src/e': '5' })
    })
    expect(found).toEqual(['src/a: content, src/b: mode 644 → 755, src/c: removed and 1 more'])
  })

  it('K03 names the owner and the flags that --chown and the destination changed', async () => {
    shop.write({ one: '1' })
    const copy = (flag: string, dest: string) =>
      `FROM scratch AS flags\nARG D=${dest}\nCOPY ${flag} one $D`
    expect(await misses(copy('--chown=1:1', '/x'), copy('--chown=1:1', '/y'))).toEqual([
      'its destination changed: /x → /y',
    ])
  })

  it('K08 names the ARG or ENV with both values, but not those of a secret', async () => {
    const run = (env: string) => `FROM busybox AS vars\nENV ${env}\nRUN echo vars`
    expect(await misses(run('V=1'), run('V=2'))).toEqual(['ENV V changed: 1 → 2'])
    expect(await misses(run('V=2'), run('W=2'))).toEqual([
      'ENV V changed: no longer 2, ENV W changed: now 2',
    ])
    const secret = (value: string) => `FROM busybox AS vars\nARG API_TOKEN=${value}\nRUN echo s`
    const found = await misses(secret('hush'), secret('quiet'))
    expect(found).toEqual(['ARG API_TOKEN changed'])
  })

  it('tells an edited instruction, one that is new, and the step that others run because of', async () => {
    const stage = (lines: string[]) => ['FROM busybox AS edits', ...lines].join('\n')
    const before = stage(['RUN echo 1 > /one', 'RUN echo 2 > /two'])
    expect(await misses(before, stage(['RUN echo 1 > /uno', 'RUN echo 2 > /two']))).toEqual([
      'the instruction changed, it was RUN echo 1 > /one',
      '[2/3] RUN echo 1 > /uno changed: the instruction changed, it was RUN echo 1 > /one',
    ])
    const inserted = stage(['RUN echo 1 > /uno', 'RUN echo new > /new', 'RUN echo 2 > /two'])
    expect((await misses(before, inserted)).at(-2)).toBe('the instruction is new')
  })

  it('K01 follows a changed file through the stages that others copy from', async () => {
    shop.write({ input: 'first' })
    const dockerfile =
      'FROM busybox AS maker\nCOPY input /in\nRUN cat /in > /out\nFROM busybox AS taker\nCOPY --from=maker /out /got\nRUN cat /got'
    const found = await misses(dockerfile, dockerfile, () => shop.write({ input: 'second' }))
    const began = '[maker 2/3] COPY input /in changed: input: content'
    expect(found).toEqual(['input: content', began, `out: content, because ${began}`, began])
  })

  it('names the step whose older result was taken, where the next one never saw it', async () => {
    shop.write({ p: '1', q: '1' })
    const dockerfile = 'FROM busybox AS older\nCOPY p /p\nCOPY q /q'
    using _one = await shop.build(dockerfile)
    shop.write({ p: '2' })
    using _two = await shop.build(dockerfile)
    shop.write({ p: '1', q: '2' })
    using third = await shop.build(dockerfile)
    expect(third.misses).toEqual([
      'q: content, [2/3] COPY p /p changed, because [2/3] COPY p /p changed: p: content',
    ])
  })

  it('K10 says --no-cache, a result that was pruned, and one that failed', async () => {
    const dockerfile = 'FROM busybox AS gone\nRUN echo gone'
    using _first = await shop.build(dockerfile)
    using uncached = await shop.build(dockerfile, { rerun: ['gone'] })
    expect(uncached.misses).toEqual(['earlier results are not used (--no-cache)'])
    const { records } = shop.store
    for await (const { hex } of records.list('step')) await records.remove('step', hex)
    using pruned = await shop.build(dockerfile)
    expect(pruned.misses).toEqual([
      'nothing changed, but the earlier result is no longer in the store',
    ])
    await expect(shop.build('FROM busybox AS bad\nRUN test -e /ok')).rejects.toThrow('exit code: 1')
    await expect(shop.build('FROM busybox AS bad\nRUN test -e /ok')).rejects.toThrow('exit code: 1')
    await forgetSteps(records, { before: new Date(Date.now() + 1000), held: new Set() })
    using forgotten = await shop.build(dockerfile)
    expect(forgotten.misses).toEqual(['never built here before'])
  })
})
