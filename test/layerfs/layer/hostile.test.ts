/**
 * Layers made to break out, by class of attack. Each is applied to a directory beside which a file
 * and a directory stand that no layer may touch; the classes are those of the advisories named.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { copyTree } from '../../../src/layerfs/layer/copy.ts'
import { diffLayer } from '../../../src/layerfs/layer/diff.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import {
  dir,
  type EntryDraft,
  file,
  hardlink,
  layerBench,
  listTree,
  symlink,
  tarOf,
  whiteout,
} from './layer-support.ts'

const evil = 'evil'

interface Attack {
  readonly title: string
  /** Lowest first. `OUTSIDE` in names and targets becomes the absolute path of the victim. */
  readonly stack: readonly (readonly EntryDraft[])[]
}

const attacks: readonly Attack[] = [
  {
    title: 'names that climb (CVE-2014-9356, CVE-2026-29064, zip slip)',
    stack: [[file('../victim/f', evil), file('a/../../victim/f', evil)]],
  },
  {
    title: 'absolute names (CVE-2018-20835)',
    stack: [[file('OUTSIDE/f', evil), dir('OUTSIDE', { mode: 0o777 })]],
  },
  {
    title: 'absolute and climbing names under more slashes and dots (CVE-2021-32804)',
    stack: [[file('////OUTSIDE/f', evil), file('/.//..//victim/f', evil), dir('/..//victim/.')]],
  },
  {
    title: 'names as another system climbs (CVE-2021-37713)',
    stack: [[file('..\\victim\\f', evil), file('C:../victim/f', evil), dir('C:..')]],
  },
  {
    title: 'writing through an absolute link (CVE-2014-6407, CVE-2015-8860)',
    stack: [[symlink('l', 'OUTSIDE'), file('l/f', evil)]],
  },
  {
    title: 'writing through a climbing link (CVE-2025-59343, CVE-2024-12905)',
    stack: [[symlink('l', '../victim'), file('l/f', evil)]],
  },
  {
    title: 'writing through a chain of links',
    stack: [[symlink('a', '..'), symlink('b', 'a/victim'), file('b/f', evil)]],
  },
  {
    title: 'writing through a link of a lower layer',
    stack: [
      [symlink('l', 'OUTSIDE'), symlink('m', '../victim')],
      [file('l/f', evil), file('m/f', evil)],
    ],
  },
  {
    title: 'a file written where a link stands',
    stack: [[symlink('l', 'OUTSIDE/f'), file('l', evil)]],
  },
  {
    title: 'a directory entry over a link, then a file in it (CVE-2021-32803)',
    stack: [[symlink('l', 'OUTSIDE'), dir('l', { mode: 0o777 }), file('l/f', evil)]],
  },
  {
    title: 'a directory that becomes a link in mid-stream (CVE-2021-37701)',
    stack: [[dir('d'), file('d/x'), symlink('d', 'OUTSIDE'), file('d/f', evil)]],
  },
  {
    title: 'a directory that becomes a link under another spelling',
    stack: [[dir('d'), file('d/x'), symlink('./d/', 'OUTSIDE'), file('d//f', evil)]],
  },
  {
    title:
      'links and directories whose names differ in letters alone (CVE-2021-37712, CVE-2026-23950)',
    stack: [
      [
        dir('gross'),
        symlink('groß', 'OUTSIDE'),
        symlink('GROSS', 'OUTSIDE'),
        file('gross/f', evil),
      ],
      [
        symlink('e\u0301', 'OUTSIDE'),
        dir('\u00e9'),
        file('\u00e9/f', evil),
        file('e\u0301/f', evil),
      ],
    ],
  },
  {
    title: 'a hard link through a chain of links (CVE-2026-26960)',
    stack: [
      [
        symlink('a', '..'),
        symlink('b', 'a/victim'),
        symlink('c', 'b/f'),
        { ...hardlink('h', 'b/f'), mode: 0o777 },
        hardlink('i', 'c'),
        file('h', evil),
        file('i', evil),
      ],
    ],
  },
  {
    title: 'a hard link to outside by climbing (CVE-2025-48387)',
    stack: [[hardlink('h', '../victim/f')]],
  },
  {
    title: 'a hard link to outside by an absolute name (CVE-2026-23745)',
    stack: [[hardlink('h', 'OUTSIDE/f')]],
  },
  {
    title: 'a hard link through a link (CVE-2026-24842)',
    stack: [[symlink('l', 'OUTSIDE'), { ...hardlink('h', 'l/f'), mode: 0o777 }]],
  },
  {
    title: 'a hard link to a link, then writing to it',
    stack: [[symlink('l', 'OUTSIDE/f'), hardlink('h', 'l'), file('h', evil)]],
  },
  {
    title: 'a hard link to a link, then describing it',
    stack: [[symlink('l', 'OUTSIDE/f'), { ...hardlink('h', 'l'), mode: 0o777, uid: 9 }]],
  },
  {
    title: 'a hard link through a link of a lower layer',
    stack: [[symlink('l', 'OUTSIDE')], [{ ...hardlink('h', 'l/f'), mode: 0o777 }]],
  },
  {
    title: 'the root as a link (CVE-2021-29136)',
    stack: [[symlink('.', 'OUTSIDE'), file('f', evil)]],
  },
  { title: 'a whiteout of ".." (A4)', stack: [[whiteout('.wh...')]] },
  {
    title: 'a whiteout by climbing',
    stack: [[whiteout('../.wh.victim'), whiteout('../victim/.wh.f')]],
  },
  { title: 'a whiteout through a link', stack: [[symlink('l', 'OUTSIDE')], [whiteout('l/.wh.f')]] },
  {
    title: 'a whiteout through a link of the same layer',
    stack: [[symlink('l', 'OUTSIDE'), whiteout('l/.wh.f')]],
  },
  {
    title: 'an opaque whiteout through a link',
    stack: [[symlink('l', '../victim')], [whiteout('l/.wh..wh..opq')]],
  },
  {
    title: 'an opaque whiteout through a link, seen merged',
    stack: [
      [symlink('l', '../victim'), file('x')],
      [hardlink('y', 'x'), whiteout('l/.wh..wh..opq')],
    ],
  },
  { title: 'an opaque whiteout above the root', stack: [[whiteout('../.wh..wh..opq')]] },
  {
    title: 'a link at a name that an aufs leftover removes',
    stack: [[symlink('.wh..wh.plnk', 'OUTSIDE')]],
  },
  {
    title: 'links that go round',
    stack: [[symlink('a', 'b'), symlink('b', 'a'), file('a/f', evil)]],
  },
  {
    title: 'a link into /proc (magic links)',
    stack: [[symlink('p', '/proc/self/cwd'), file('p/f', evil)]],
  },
  {
    title: 'replaying through an overlay while climbing',
    stack: [
      [file('x'), symlink('l', '../../../..')],
      [hardlink('y', 'x'), file('l/victim/f', evil), file('l/OUTSIDE/f', evil)],
    ],
  },
]

describe('applyLayer() touches nothing outside for', () => {
  test.each(attacks)('$title', async ({ stack }) => {
    using bench = layerBench()
    const victim = join(bench.dir, 'victim')
    mkdirSync(victim, { mode: 0o750 })
    writeFileSync(join(victim, 'f'), 'untouched', { mode: 0o640 })
    const before = statSync(join(victim, 'f'))
    for (const layer of stack) {
      const aimed = layer.map(draft => aim(draft, victim))
      // Refused or contained: both are safe.
      await bench.apply(aimed).catch((error: unknown) => expect(error).toHaveProperty('code'))
    }
    expect(readFileSync(join(victim, 'f'), 'utf8')).toBe('untouched')
    expect(readdirSync(victim)).toEqual(['f'])
    const after = statSync(join(victim, 'f'))
    expect([after.mode, after.uid, after.nlink, after.mtimeMs]).toEqual([
      before.mode,
      before.uid,
      1,
      before.mtimeMs,
    ])
    expect(statSync(victim).mode & 0o777).toBe(0o750)
    const allowed = /^(victim|blob|layer\d+)$/
    expect(readdirSync(bench.dir).filter(name => !allowed.test(name))).toEqual([])
  })
})

function aim(draft: EntryDraft, victim: string): EntryDraft {
  return {
    ...draft,
    path: draft.path.toString().replace('OUTSIDE', victim),
    ...(draft.link === undefined ? {} : { link: draft.link.replace('OUTSIDE', victim) }),
  }
}

describe('reading a tree that a process changes meanwhile', () => {
  test('never reads through a link that takes a directory’s place (CVE-2018-15664, CVE-2023-0778)', async () => {
    using bench = layerBench()
    const [tree, victim] = ['tree', 'victim'].map(name => join(bench.dir, name)) as [string, string]
    for (const path of [join(tree, 'd/deep'), join(victim, 'deep')])
      mkdirSync(path, { recursive: true })
    for (const path of ['d/f', 'd/deep/f']) writeFileSync(join(tree, path), 'inside')
    for (const path of ['f', 'deep/f']) writeFileSync(join(victim, path), 'SECRET')
    symlinkSync(victim, join(tree, 'l'))
    const swapping = spawn('python3', ['-c', swapForever], { cwd: tree })
    try {
      for (let round = 0; round < 60; round++) {
        const copy = join(bench.dir, `copy${round}`)
        mkdirSync(copy)
        // What is something else than a moment ago may be refused; it is not followed.
        codeOf(() => expect(tarOfTree(tree).includes('SECRET')).toBe(false))
        codeOf(() => copyInto(copy, tree))
        const grep = spawnSync('grep', ['-r', 'SECRET', copy])
        expect(grep.status).toBe(1)
        await setImmediate()
      }
    } finally {
      swapping.kill('SIGKILL')
    }
  }, 60_000)
})

function tarOfTree(tree: string): Buffer {
  return Buffer.concat([...diffLayer({ upper: tree, lower: [] })])
}

function copyInto(copy: string, tree: string): void {
  using from = openRoot({ kind: 'directory', path: tree, readOnly: true })
  using to = openRoot({ kind: 'directory', path: copy, readOnly: false })
  copyTree({ root: from, path: '/' }, { root: to, path: '/' })
}

/** Of what `act` throws, which must have one: `undefined` when it throws nothing. */
function codeOf(act: () => unknown): unknown {
  try {
    act()
    return undefined
  } catch (error) {
    if (!(error instanceof Error && 'code' in error) || 'matcherResult' in error) throw error
    return error.code
  }
}

/** Exchanges a directory and a link, which no moment shows without either. */
const swapForever = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
while libc.renameat2(-100, b'd', -100, b'l', 2) == 0: pass
`

describe('applyLayer() stops early at', () => {
  test('a bomb: 64 MiB of zeros in 64 KiB of gzip (CVE-2017-14992)', async () => {
    using bench = layerBench()
    const zeros = Buffer.alloc(64 << 20)
    const tar = tarOf([file('bomb', zeros.toString('latin1'))])
    const run = bench.apply(tar, { blob: gzipSync(tar), budgets: { content: 1 << 20 } })
    await expect(run).rejects.toMatchObject({ code: 'too-large' })
    expect(readdirSync(join(bench.dir, 'layer1'))).toEqual([])
  })

  test('a sparse file of an exabyte', async () => {
    using bench = layerBench()
    const script = 'cd "$1" && truncate -s 4T sparse && tar -S --format=pax -cf - sparse'
    const tar = execFileSync('sh', ['-ec', script, 'sh', bench.dir])
    const huge = Buffer.from(
      tar.toString('latin1').replace(/realsize=4398046511104/, 'realsize=9000000000000'),
      'latin1',
    )
    await expect(bench.apply(huge, { budgets: { content: 1 << 40 } })).rejects.toMatchObject({
      code: 'too-large',
    })
  })

  test('too many entries, and too many levels', async () => {
    using bench = layerBench()
    const many = [file('a'), file('b'), file('c')]
    await expect(bench.apply(many, { budgets: { entries: 2 } })).rejects.toMatchObject({
      code: 'too-large',
    })
    const deep = [file(`${'d/'.repeat(5000)}f`)]
    await expect(bench.apply(deep)).rejects.toMatchObject({ code: 'too-large' })
  })
})

test('applyLayer() and removal manage a tree as deep as allowed', async () => {
  using bench = layerBench()
  await bench.apply([file(`${'d/'.repeat(1000)}f`, 'deep')])
  using view = bench.view()
  expect(listTree(view).at(-1)).toContain('f "deep"')
})
