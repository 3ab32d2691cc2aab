import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, mkdirSync, symlinkSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('COPY (needs root)', () => {
  let shop: Workshop
  let context: string

  beforeAll(async () => {
    shop = await openWorkshop()
    context = join(shop.directory, 'context')
    shop.write({
      'a.txt': 'A',
      'b.txt': 'BB',
      'tree/one': '1',
      'tree/sub/two': '22',
      'tree/sub/.hidden': 'h',
      'skip/me.log': 'log',
      'with space': 's',
      'odd[1].txt': 'odd',
    })
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  it('C04 copies what is in a directory, not the directory', async () => {
    for (const source of ['tree', 'tree/', 'tree/.']) {
      using built = await shop.build(`FROM scratch\nCOPY ${source} /to`)
      expect(built.read('/to/one')).toBe('1')
      expect(built.read('/to/sub/two')).toBe('22')
      expect(built.root.exists('/to/tree')).toBe(false)
    }
  })

  it('C05 takes a destination for a directory when it ends in / or there are several sources', async () => {
    using built = await shop.build(
      'FROM scratch\nCOPY a.txt /file\nCOPY a.txt /dir/\nCOPY a.txt b.txt /many/\nCOPY a.txt /deep/er/name',
    )
    expect(built.read('/file')).toBe('A')
    expect(built.read('/dir/a.txt')).toBe('A')
    expect(built.read('/many/b.txt')).toBe('BB')
    expect(built.read('/deep/er/name')).toBe('A')
    expect(built.describe('/deep/er')).toBe('40755 0:0')
  })

  it('C05 copies into a directory that exists, also without /', async () => {
    using built = await shop.build('FROM busybox\nCOPY a.txt /tmp')
    expect(built.read('/tmp/a.txt')).toBe('A')
  })

  it('C06 resolves a relative destination from WORKDIR', async () => {
    using built = await shop.build('FROM scratch\nWORKDIR /x/y\nCOPY a.txt .\nCOPY b.txt ../c')
    expect(built.read('/x/y/a.txt')).toBe('A')
    expect(built.read('/x/c')).toBe('BB')
  })

  it('C07 refuses a source that is not there, pointing at the line', async () => {
    await expect(shop.build('FROM scratch\nCOPY nothere /')).rejects.toMatchObject({
      message: expect.stringContaining('"/nothere": not found'),
      excerpt: expect.stringContaining('>>> COPY nothere /'),
      hint: expect.stringContaining('no "/nothere" in the build context'),
    })
  })

  it('C07 asks whether a name nearly like it was meant', async () => {
    await expect(shop.build('FROM scratch\nCOPY a.tx /')).rejects.toMatchObject({
      hint: expect.stringContaining('did you mean "/a.txt"?'),
    })
  })

  it('C07 says of a source that .dockerignore keeps out that it does', async () => {
    await expect(
      shop.build('FROM scratch\nCOPY a.txt /', { ignore: '*.txt' }),
    ).rejects.toMatchObject({ hint: expect.stringContaining('.dockerignore excludes it') })
  })

  it('C08 matches wildcards as filepath.Match, and warns when nothing matches', async () => {
    using built = await shop.build('FROM scratch\nCOPY *.txt /all/\nCOPY no*thing /none/')
    expect(built.read('/all/b.txt')).toBe('BB')
    expect(built.root.exists('/all/tree')).toBe(false)
    expect(built.events).toContainEqual(
      expect.objectContaining({ kind: 'warning', message: expect.stringContaining('/no*thing') }),
    )
  })

  it('C03 cannot leave the context by .. or by links', async () => {
    symlinkSync('/etc/hostname', join(context, 'out'))
    symlinkSync('../../../../../../etc/passwd', join(context, 'up'))
    for (const source of ['out', 'up', '../../../etc/passwd']) {
      await expect(shop.build(`FROM scratch\nCOPY ${source} /x`)).rejects.toThrow('not found')
    }
  })

  it('C09 follows a source that is a link, and keeps links inside what it copies', async () => {
    symlinkSync('tree/one', join(context, 'link'))
    symlinkSync('gone', join(context, 'tree/dangling'))
    using built = await shop.build('FROM scratch\nCOPY link /l\nCOPY tree /t/')
    expect(built.describe('/l')).toBe('100644 0:0 1')
    expect(built.describe('/t/dangling')).toBe('120777 0:0 4')
  })

  it('C10 follows links in the destination, inside the root', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN mkdir -p /usr/lib && ln -s usr/lib /lib && ln -s / /usr/rootlink && ln -s /../../../../tmp /esc\nCOPY a.txt /lib/\nCOPY b.txt /usr/rootlink/b\nCOPY a.txt /esc/',
    )
    expect(built.read('/usr/lib/a.txt')).toBe('A')
    expect(built.read('/b')).toBe('BB')
    expect(built.read('/tmp/a.txt')).toBe('A')
    expect(built.describe('/lib')).toBe('120777 0:0 7')
  })

  it('C11 refuses to replace a directory by a file and a file by a directory', async () => {
    await expect(shop.build('FROM busybox\nCOPY tree /bin/sh')).rejects.toThrow(
      'cannot copy to non-directory',
    )
    shop.write({ 'clash/sub': 'a file' })
    await expect(shop.build('FROM scratch\nCOPY tree /t/\nCOPY clash /t/')).rejects.toThrow(
      /cannot (replace to directory|copy)/,
    )
  })

  it('C14 gives files of the context to root and keeps mode, time and hard links', async () => {
    shop.write({ 'meta/suid': 'x' })
    chmodSync(join(context, 'meta/suid'), 0o4751)
    utimesSync(join(context, 'meta/suid'), 1_000_000_000, 1_000_000_000)
    linkSync(join(context, 'meta/suid'), join(context, 'meta/again'))
    using built = await shop.build('FROM scratch\nCOPY meta /m/')
    expect(built.describe('/m/suid')).toBe('104751 0:0 1')
    const [one, two] = [built.root.stat('/m/suid', 'keep'), built.root.stat('/m/again', 'keep')]
    expect(one.mtime.seconds).toBe(1_000_000_000)
    expect(one.ino).toBe(two.ino)
  })

  it('C15 C16 keeps owners from a stage, and gives them away with --chown', async () => {
    using built = await shop.build(
      'FROM busybox AS s\nRUN echo x > /f && chown 12:34 /f\nFROM busybox\nCOPY --from=s /f /kept\nCOPY --from=s --chown=nobody /f /named\nCOPY --chown=7 a.txt /seven\nCOPY --chown=8:9 tree /t/',
    )
    expect(built.describe('/kept')).toBe('100644 12:34 2')
    expect(built.describe('/named')).toBe('100644 65534:65534 2')
    expect(built.describe('/seven')).toBe('100644 7:7 1')
    expect(built.describe('/t/sub')).toBe('40755 8:9')
    expect(built.describe('/t/sub/two')).toBe('100644 8:9 2')
  })

  it('C16 refuses a name that the image does not know', async () => {
    await expect(shop.build('FROM busybox\nCOPY --chown=who:ever a.txt /')).rejects.toThrow(
      'unable to find user who: no matching entries in passwd file',
    )
  })

  it('C17 sets modes, octal and symbolic', async () => {
    using built = await shop.build(
      'FROM scratch\nCOPY --chmod=4755 a.txt /o\nCOPY --chmod=u=rwX,go=rX tree /t/\nCOPY --chmod=g+w a.txt /s',
    )
    expect(built.describe('/o')).toBe('104755 0:0 1')
    expect(built.describe('/t/one')).toBe('100644 0:0 1')
    expect(built.describe('/t/sub')).toBe('40755 0:0')
    expect(built.describe('/s')).toBe('100664 0:0 1')
  })

  it('C18 leaves out what --exclude names', async () => {
    using built = await shop.build('FROM scratch\nCOPY --exclude=sub tree /t/')
    expect(built.root.exists('/t/one')).toBe(true)
    expect(built.root.exists('/t/sub')).toBe(false)
  })

  it('V10 fills variables into --exclude and --from', async () => {
    using built = await shop.build(
      'FROM scratch AS s\nCOPY tree /t/\nFROM scratch\nARG FROM=s OUT=one\nCOPY --from=$FROM --exclude=$OUT /t /t/',
    )
    expect(built.root.exists('/t/one')).toBe(false)
    expect(built.root.exists('/t/sub/two')).toBe(true)
  })

  it('C22 takes spaces and brackets literally', async () => {
    using built = await shop.build(
      'FROM scratch\nCOPY ["with space", "/to there/"]\nCOPY odd[[]1].txt /odd',
    )
    expect(built.read('/to there/with space')).toBe('s')
    expect(built.read('/odd')).toBe('odd')
  })

  it('H04 writes heredocs, expanding variables unless the name is quoted', async () => {
    using built = await shop.build(
      'FROM scratch\nARG V=1\nCOPY <<A <<"B" /h/\nv=$V\nA\nv=$V\nB\nCOPY --chmod=755 --chown=3:4 <<run.sh /run.sh\necho hi\nrun.sh\n',
    )
    expect(built.read('/h/A')).toBe('v=1\n')
    expect(built.read('/h/B')).toBe('v=$V\n')
    expect(built.describe('/run.sh')).toBe('100755 3:4 8')
  })

  it('X04 X05 leaves out of the context what .dockerignore names, and lets ! bring back', async () => {
    using built = await shop.build('FROM scratch\nCOPY . /c/', {
      ignore: '# comment\n**/*.log\ntree\n!tree/sub/two\nout\nup\nlink',
    })
    expect(built.root.exists('/c/a.txt')).toBe(true)
    expect(built.root.exists('/c/skip/me.log')).toBe(false)
    expect(built.root.exists('/c/tree/one')).toBe(false)
    expect(built.read('/c/tree/sub/two')).toBe('22')
    expect(built.root.exists('/c/tree/sub/.hidden')).toBe(false)
  })

  it('C21 K04 finds an unchanged copy in the cache, whatever the times, and not a changed mode', async () => {
    shop.write({ 'cached/x': 'same' })
    const dockerfile = 'FROM scratch\nCOPY cached /c/'
    using first = await shop.build(dockerfile)
    expect(first.worked).toHaveLength(1)
    utimesSync(join(context, 'cached/x'), 5, 5)
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    expect(again.result.layers).toEqual(first.result.layers)
    chmodSync(join(context, 'cached/x'), 0o600)
    using changed = await shop.build(dockerfile)
    expect(changed.worked).toHaveLength(1)
    expect(changed.misses).toEqual(['cached/x: mode 644 → 600'])
  })

  it('K05 is keyed on what a wildcard matches and no exclude leaves out, and on what a link leads to', async () => {
    shop.write({ 'keyed/a.txt': 'a', 'keyed/b.log': 'b', 'keyed/no.md': 'n', 'far/target': 't' })
    symlinkSync('../far', join(context, 'keyed/way'))
    const copies = ['keyed/*.txt', '--exclude=*.md --exclude=*.log keyed', 'keyed/way/target']
    const worked = async () => {
      const counts: number[] = []
      for (const copied of copies) {
        using built = await shop.build(`FROM scratch\nCOPY ${copied} /k/`)
        counts.push(built.worked.length)
      }
      return counts
    }
    expect(await worked()).toEqual([1, 1, 1])
    shop.write({ 'keyed/b.log': 'other', 'keyed/no.md': 'other', 'far/beside': 'new' })
    expect(await worked()).toEqual([0, 0, 0])
    shop.write({ 'keyed/c.txt': 'a match' })
    expect(await worked()).toEqual([1, 1, 0])
    shop.write({ 'far/target': 'changed' })
    expect(await worked()).toEqual([0, 0, 1])
  })

  it('K05 follows a link of the image inside of it: an absolute one leads to no file of this machine', async () => {
    const linking = (content: string) =>
      `FROM busybox AS base\nRUN mkdir -p /etc && echo ${content} > /etc/issue && ln -sf /etc/issue /link\nFROM scratch\nCOPY --from=base /link /copied`
    using first = await shop.build(linking('one'))
    expect(first.read('/copied')).toBe('one\n')
    using second = await shop.build(linking('two'))
    expect(second.read('/copied')).toBe('two\n')
    expect(second.worked).toHaveLength(2)
  })

  it('K09 does not miss for another umask where --chmod decides', async () => {
    shop.write({ 'umask/f': 'same' })
    mkdirSync(join(context, 'umask/d'), { recursive: true })
    const dockerfile = 'FROM scratch\nCOPY --chmod=755 umask /u/'
    using first = await shop.build(dockerfile)
    chmodSync(join(context, 'umask/f'), 0o664)
    chmodSync(join(context, 'umask/d'), 0o775)
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    expect(again.result.layers).toEqual(first.result.layers)
  })

  it('C24 C25 unpacks archives that ADD names, and copies what is none', async () => {
    const pack = (flags: string, name: string) =>
      execFileSync('tar', [flags, join(context, name), '-C', join(context, 'tree'), 'one', 'sub'])
    pack('-cf', 'p.tar')
    pack('-czf', 'p.tar.gz')
    pack('-cJf', 'p.tar.xz')
    shop.write({ 'inside/p.tar': 'not opened', 'broken.gz': '\u001f\u008b junk' })
    using built = await shop.build(
      'FROM scratch\nADD p.tar /plain/\nADD p.tar.gz /gz\nADD --chown=3:4 p.tar.xz /xz/\nADD p.tar* /all/\nADD --unpack=false p.tar /kept/\nADD inside /in/\nADD broken.gz /b/\nCOPY p.tar /c/',
    )
    for (const path of ['/plain/one', '/gz/one', '/xz/one', '/all/one']) {
      expect(built.read(path)).toBe('1')
    }
    expect(built.describe('/xz/sub/two')).toBe('100644 3:4 2')
    for (const path of ['/kept/p.tar', '/in/p.tar', '/b/broken.gz', '/c/p.tar']) {
      expect(built.root.exists(path)).toBe(true)
    }
  })
})
