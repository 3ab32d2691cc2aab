/** Which steps run, which ARGs they see, and where images come from: --no-cache-filter, --run-args, --pull. */
import { readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { forgetSteps } from '../../../src/builder/forget-steps.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('control over steps (needs root)', () => {
  let shop: Workshop

  beforeAll(async () => {
    shop = await openWorkshop()
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  it('K10 runs the step at a line again, by the line alone or with its stage', async () => {
    const dockerfile =
      'FROM busybox AS one\nRUN echo 1 > /1\nFROM busybox AS two\nCOPY --from=one /1 /\nRUN echo 2 \\\n  > /2\nRUN echo 3'
    using _first = await shop.build(dockerfile)
    const ran = async (place: string) => {
      using built = await shop.build(dockerfile, { rerun: [place] })
      return built.worked.map(name => name.replace(/^\[|\].*/g, ''))
    }
    expect(await ran(':6')).toEqual(['two 3/4'])
    expect(await ran('two:5')).toEqual(['two 3/4'])
    expect(await ran('1:7')).toEqual(['two 4/4'])
    expect(await ran('one:5')).toEqual([])
    expect(await ran('ONE')).toEqual(['one 2/2'])
  })

  it('K10 warns of a filter that is no stage and no step, and takes a stage by what it is shown as', async () => {
    const dockerfile = 'FROM busybox AS one\nRUN echo named\nFROM one\n# a comment\nRUN echo last'
    using _first = await shop.build(dockerfile)
    using built = await shop.build(dockerfile, {
      rerun: ['stage-1', 'one:2', 'noe', 'one:5', ':4', '2'],
    })
    expect(built.worked.map(name => name.replace(/^\[|\].*/g, ''))).toEqual([
      'one 2/2',
      'stage-1 1/1',
    ])
    const warnings = built.events.flatMap(event => (event.kind === 'warning' ? event.message : []))
    expect(warnings).toEqual(
      ['noe', 'one:5', ':4', '2'].map(
        text => `no-cache-filter "${text}" is no stage or step of the Dockerfile`,
      ),
    )
  })

  describe('K08 ARGs that a RUN does not name', () => {
    // Named by a pattern, so that the name itself does not stand in the RUN.
    const run = 'RUN echo "V=$V"; env | grep -c ^UNUS[E]D= || true'
    const dockerfile = (above: string) =>
      `FROM busybox AS args\nARG V=1\nARG UNUSED\n${above}${run}`

    it('are in its environment and key, unless it is told otherwise', async () => {
      const before = { buildArgs: { UNUSED: 'a' } }
      using first = await shop.build(dockerfile(''), before)
      expect(first.log).toBe('V=1\n1\n')
      using again = await shop.build(dockerfile(''), { buildArgs: { UNUSED: 'b' } })
      expect(again.misses).toEqual(['ARG UNUSED changed: a → b'])
    })

    it.each([
      ['by a comment above it', dockerfile('# tsbuild: run-args=named\n'), undefined],
      ['by the flag', dockerfile('\n'), 'named' as const],
      ['by a comment above FROM', `# tsbuild: run-args=named\n${dockerfile('')}`, undefined],
    ])(
      'are then neither in its environment, nor its key, nor its history: %s',
      async (_how, text, runArgs) => {
        const flag = runArgs === undefined ? {} : { runArgs }
        using first = await shop.build(text, { buildArgs: { UNUSED: 'a' }, rerun: 'all', ...flag })
        expect(first.log).toBe('V=1\n0\n')
        using again = await shop.build(text, { buildArgs: { UNUSED: 'b' }, ...flag })
        expect(again.worked).toEqual([])
        expect(again.result.layers).toEqual(first.result.layers)
        expect(again.result.config.history.at(-1)?.created_by).toContain('RUN |1 V=1 ')
        using changed = await shop.build(text, { buildArgs: { V: '2' }, rerun: 'all', ...flag })
        expect(changed.log).toBe('V=2\n0\n')
      },
    )

    it('stay where an ENV of the same name hides the ARG, and a misspelt comment is refused', async () => {
      const env =
        'FROM busybox\nARG E=1\nENV E=env\n# tsbuild: run-args=named\nRUN env | grep ^[E]='
      using built = await shop.build(env)
      expect(built.log).toBe('E=env\n')
      await expect(shop.build('FROM busybox\n# tsbuild: run-arg=named\nRUN true')).rejects.toThrow(
        'unknown directive "# tsbuild: run-arg=named"',
      )
    })
  })

  it('K01 keeps through a prune what was used lately, however old, and what explains it', async () => {
    shop.write({ old: '1' })
    const dockerfile = 'FROM busybox AS old\nCOPY old /old'
    const age = async () => {
      const records = join(shop.store.root, 'records')
      for (const kind of ['step', 'inventory', 'last']) {
        for (const name of readdirSync(join(records, kind)))
          utimesSync(join(records, kind, name), 1, 1)
      }
    }
    const hourAgo = new Date(Date.now() - 3_600_000)
    using _first = await shop.build(dockerfile)
    await age()
    using used = await shop.build(dockerfile)
    expect(used.worked).toEqual([])
    await forgetSteps(shop.store.records, { before: hourAgo, held: new Set() })
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    shop.write({ old: '2' })
    using changed = await shop.build(dockerfile)
    expect(changed.misses).toEqual(['old: content'])
    await age()
    await forgetSteps(shop.store.records, { before: hourAgo, held: new Set() })
    using forgotten = await shop.build(dockerfile)
    expect(forgotten.misses).toEqual(['never built here before'])
  })

  it('never asks a registry with --pull=never, and uses what it has with newer', async () => {
    await expect(shop.build('FROM nowhere.invalid/image', { pull: 'never' })).rejects.toThrow(
      'failed to resolve source metadata for nowhere.invalid/image:latest: it is not in the store, and --pull=never',
    )
    using built = await shop.build('FROM busybox\nRUN true', { pull: 'never' })
    expect(built.result.layers).toHaveLength(2)
  })
})
