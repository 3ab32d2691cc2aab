import { chmodSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkStore, type Finding } from '../../../src/layerfs/image/check-store.ts'
import { chainIds } from '../../../src/oci/digest.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['root', 'busybox'], 'COPY --link and --parents', () => {
  let shop: Workshop
  beforeAll(async () => {
    shop = await openWorkshop()
    shop.write({
      'a.txt': 'A',
      'src/one/x.ts': 'x',
      'src/one/deep/y.ts': 'y',
      'src/two/z.js': 'z',
      'src/top.ts': 't',
    })
  })
  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  it('C20 finds the copy again when its base changed, and lays it on the new one', async () => {
    const dockerfile = (base: string) =>
      `FROM busybox\nRUN echo ${base} > /base\nCOPY --link a.txt /app/\nCOPY --link src /app/src`
    using first = await shop.build(dockerfile('1'))
    using second = await shop.build(dockerfile('2'))
    expect(first.worked).toHaveLength(3)
    expect(second.worked).toEqual(['[2/4] RUN echo 2 > /base'])
    expect(second.read('/base')).toBe('2\n')
    expect(second.read('/app/a.txt')).toBe('A')
    expect(second.read('/app/src/one/deep/y.ts')).toBe('y')
    expect(second.result.layers.slice(-2)).toEqual(first.result.layers.slice(-2))
  })

  it('C20 does not follow links of its base, and gives parents 0755 and to root', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN mkdir -m 700 /d /real && chown 5:6 /d && ln -s real /l\nCOPY --link a.txt /l/\nCOPY --link --chown=7:8 a.txt /d/',
    )
    expect(built.describe('/l')).toBe('40755 0:0')
    expect(built.read('/l/a.txt')).toBe('A')
    expect(built.root.exists('/real/a.txt')).toBe(false)
    expect(built.describe('/d/a.txt')).toBe('100644 7:8 1')
    expect(built.describe('/d')).toBe('40755 7:8')
  })

  it('C20 makes layers whose bytes are what their names say, wherever they are laid', async () => {
    using built = await shop.build(
      'FROM busybox AS s\nRUN echo s > /s && ln /s /hard && ln -s s /soft && chmod 4755 /s\nFROM busybox\nRUN chmod 700 /\nCOPY --link --from=s /s /hard /soft /t/\nCOPY --link a.txt /\nCOPY --link a.txt /\nRUN cat /t/s /a.txt; stat -c %a /',
    )
    expect(built.log).toBe('s\nA700\n')
    const { layers } = built.result
    for (const chain of chainIds(layers).slice(1)) {
      await expect(shop.store.layers.layerBlob(chain)).resolves.toBeDefined()
    }
    const findings: Finding[] = []
    for await (const found of checkStore(shop.store, { contents: 'read' })) findings.push(found)
    expect(findings).toEqual([])
  })

  it('C20 works on scratch, and for a stage that others build on', async () => {
    using built = await shop.build(
      'FROM scratch AS s\nCOPY --link a.txt /a\nCOPY --link src/top.ts /b\nFROM s\nCOPY --link --from=s / /all/',
    )
    expect(built.read('/a')).toBe('A')
    expect(built.read('/all/b')).toBe('t')
    expect(built.result.layers).toHaveLength(3)
    expect(built.result.config.history).toHaveLength(3)
  })

  it('C19 keeps the path below the destination, and below the pivot when it has one', async () => {
    using built = await shop.build(
      'FROM scratch\nCOPY --parents src/one/x.ts a.txt /p/\nCOPY --parents src/./one/x.ts ./src/one/./deep /q/',
    )
    expect(built.read('/p/src/one/x.ts')).toBe('x')
    expect(built.read('/p/a.txt')).toBe('A')
    expect(built.root.exists('/p/src/top.ts')).toBe(false)
    expect(built.read('/q/one/x.ts')).toBe('x')
    expect(built.read('/q/deep/y.ts')).toBe('y')
    expect(built.root.exists('/q/src')).toBe(false)
  })

  it('C19 takes ** for any number of directories, and --exclude below them', async () => {
    using built = await shop.build(
      'FROM scratch\nCOPY --parents **/*.ts /all/\nCOPY --parents --exclude=**/deep src/**/*.ts /some/\nCOPY --parents src/o*/x.* /star/',
    )
    for (const path of ['one/x.ts', 'one/deep/y.ts', 'top.ts']) {
      expect(built.root.exists(`/all/src/${path}`)).toBe(true)
    }
    expect(built.root.exists('/all/src/two')).toBe(false)
    expect(built.root.exists('/some/src/one/x.ts')).toBe(true)
    expect(built.root.exists('/some/src/one/deep')).toBe(false)
    expect(built.read('/star/src/one/x.ts')).toBe('x')
  })

  it('C19 gives the directories on the way what they have at the source', async () => {
    const directory = join(shop.directory, 'context/src/one')
    chmodSync(directory, 0o750)
    utimesSync(directory, 1_000_000_000, 1_000_000_000)
    const dockerfile = 'FROM scratch\nCOPY --parents src/one/x.ts /p/'
    using built = await shop.build(dockerfile)
    expect(built.describe('/p/src/one')).toBe('40750 0:0')
    expect(built.root.stat('/p/src/one', 'keep').mtime.seconds).toBe(1_000_000_000)
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    chmodSync(directory, 0o755)
    using changed = await shop.build(dockerfile)
    expect(changed.worked).toHaveLength(1)
  })

  it('C19 C07 refuses a path that is not there or is ignored, and warns of a pattern without a match', async () => {
    await expect(shop.build('FROM scratch\nCOPY --parents src/none /p/')).rejects.toThrow(
      '"/src/none": not found',
    )
    await expect(
      shop.build('FROM scratch\nCOPY --parents a.txt /p/', { ignore: '*.txt' }),
    ).rejects.toThrow('not found')
    await expect(shop.build('FROM scratch\nCOPY --parents none/./x /p/')).rejects.toThrow(
      'not found',
    )
  })

  it('C19 C03 C20 works together with --link and --from, and never leaves the tree', async () => {
    using built = await shop.build(
      'FROM busybox AS s\nRUN mkdir -p /o/p && echo s > /o/p/f && chown 3:4 /o/p /o/p/f\nFROM scratch\nCOPY --parents --link --from=s /o/./p/f ../../../a*.x /to/\nCOPY --parents ../../src/./top.ts /up/',
    )
    expect(built.describe('/to/p/f')).toBe('100644 3:4 2')
    expect(built.describe('/to/p')).toBe('40755 3:4')
    expect(built.read('/up/top.ts')).toBe('t')
  })
})
