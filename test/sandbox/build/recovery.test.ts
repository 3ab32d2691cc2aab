/** What a step that runs again leaves as it was (K01). */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(
  ['root', 'build', 'busybox'],
  'K01: a step that ran again with the same result',
  () => {
    let shop: Workshop
    beforeAll(async () => {
      shop = await openWorkshop()
    })
    afterAll(() => shop[Symbol.asyncDispose]())

    /** The second line's text is another each time; the third is built on what it gave. */
    const after = (command: string) =>
      ['FROM busybox', `RUN ${command}`, 'RUN echo follows > /follows'].join('\n')

    test('the steps on top of it are found, though its files are younger', async () => {
      const make =
        'mkdir -p /made/sub && echo same > /made/sub/file && ln /made/sub/file /made/link && rm /bin/vi'
      using first = await shop.build(after(`${make} # one`))
      using again = await shop.build(after(`${make} # two`))
      expect(again.worked.filter(name => name.includes('RUN'))).toEqual([
        expect.stringContaining('# two'),
      ])
      expect(again.cached).toEqual([expect.stringContaining('follows')])
      expect(again.result.layers).toEqual(first.result.layers)
      expect(again.result.config.created).toBe(first.result.config.created)
    })

    test('also those of stages on top of a stage that was asked to run again', async () => {
      const dockerfile = 'FROM busybox AS a\nRUN echo two > /two\nFROM a\nRUN cat /two > /last'
      using first = await shop.build(dockerfile)
      using rerun = await shop.build(dockerfile, { rerun: ['a'] })
      expect(rerun.cached).toEqual([expect.stringContaining('cat /two')])
      expect(rerun.result.layers).toEqual(first.result.layers)
    })

    test.each([
      ['other bytes of the same length', 'echo 1 > /f', 'echo 2 > /f'],
      ['another mode', 'echo 1 > /f; chmod 600 /f', 'echo 1 > /f; chmod 640 /f'],
      ['another owner', 'echo 1 > /f; chown 1 /f', 'echo 1 > /f; chown 2 /f'],
      ['a copy in place of a link', 'echo 1 > /f; ln /f /g', 'echo 1 > /f; cp /f /g'],
      ['another link target', 'ln -s a /f', 'ln -s b /f'],
      ['one file more', 'echo 1 > /f', 'echo 1 > /f; echo 2 > /g'],
      ['one file removed', 'echo 1 > /f', 'echo 1 > /f; rm /bin/vi'],
    ])('%s is another result', async (_, one, other) => {
      using first = await shop.build(after(one))
      using second = await shop.build(after(other))
      expect(second.cached).toEqual([])
      expect(second.result.layers).not.toEqual(first.result.layers)
    })

    test('without the cache each step gives its own', async () => {
      const dockerfile = after('echo again > /f')
      using first = await shop.build(dockerfile)
      using again = await shop.build(dockerfile, { rerun: 'all' })
      expect(again.cached).toEqual([])
      expect(again.result.config.created).not.toBe(first.result.config.created)
    })
  },
)
