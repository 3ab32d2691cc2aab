import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copyTree } from '../../../src/layerfs/layer/copy.ts'
import type { CopyOptions } from '../../../src/layerfs/layer/copy-options.ts'
import { type HashedDiff, hashDiff } from '../../../src/layerfs/layer/diff.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import { listTree } from './layer-support.ts'

let base: string
const at = (...names: string[]): string => join(base, ...names)

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'copy-test-'))
  mkdirSync(at('context'))
  mkdirSync(at('root'))
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

function sh(script: string): void {
  execFileSync('sh', ['-ec', script], { cwd: base, stdio: 'pipe' })
}

function copy(from: string, to: string, options: CopyOptions = {}): number {
  using source = openRoot({ kind: 'directory', path: at('context'), readOnly: true })
  using target = openRoot({ kind: 'directory', path: at('root'), readOnly: false })
  return copyTree({ root: source, path: from }, { root: target, path: to }, options).entries
}

function tree(): string[] {
  using root = openRoot({ kind: 'directory', path: at('root'), readOnly: true })
  return listTree(root)
}

describe('copyTree()', () => {
  test('C04 copies what is in a directory, not the directory', () => {
    sh('cd context; mkdir -p d/sub; echo -n 1 > d/a; ln -s nowhere d/sub/l')
    for (const [index, from] of ['d', 'd/', 'd/.', '/d'].entries()) copy(from, `/to${index}`)
    expect(tree()).toEqual(
      [0, 1, 2, 3].flatMap(n => [
        `to${n} dir`,
        `to${n}/a "1"`,
        `to${n}/sub dir`,
        `to${n}/sub/l -> nowhere`,
      ]),
    )
  })

  test('C05 C13 makes what is missing 0755 and root, or as the options say', () => {
    sh('cd context; mkdir -m 700 d; echo 1 > d/a; echo 1 > f; chmod 600 f')
    copy('f', '/x/y/f')
    expect([
      statSync(at('root/x/y')).mode & 0o7777,
      statSync(at('root/x/y/f')).mode & 0o7777,
    ]).toEqual([0o755, 0o600])
    copy('d', '/p/q', {
      owner: { uid: 5, gid: 6 },
      mode: (_, kind) => (kind === 'directory' ? 0o750 : 0o640),
      impliedMode: 0o750,
    })
    for (const [path, mode] of [
      ['p', 0o750],
      ['p/q', 0o750],
      ['p/q/a', 0o640],
    ] as const) {
      const stat = statSync(at('root', path))
      expect([path, stat.mode & 0o7777, stat.uid, stat.gid]).toEqual([path, mode, 5, 6])
    }
  })

  test('C09 follows a link that is the source, inside the context only', () => {
    sh('cd context; echo -n in > f; ln -s /f l; ln -s ../outside o; echo secret > ../outside')
    copy('l', '/f')
    expect(tree()).toEqual(['f "in"'])
    expect(() => copy('o', '/o')).toThrow(expect.objectContaining({ code: 'not-found' }))
    expect(() => copy('../outside', '/o')).toThrow(expect.objectContaining({ code: 'not-found' }))
  })

  test('C10 follows links of the destination, inside the root only', () => {
    sh(
      'echo -n 1 > context/f; mkdir -p root/usr/lib; ln -s usr/lib root/lib; ln -s ../../../../etc root/out',
    )
    copy('f', '/lib/f')
    copy('f', '/out/f')
    expect(tree()).toEqual([
      'etc dir',
      'etc/f "1"',
      'lib -> usr/lib',
      'out -> ../../../../etc',
      'usr dir',
      'usr/lib dir',
      'usr/lib/f "1"',
    ])
  })

  test('C11 never turns a directory into a file or a file into a directory', () => {
    sh(
      'cd context; mkdir -p d/x; echo f > f; mkdir e; echo x > e/x; cd ../root; mkdir f; echo d > d',
    )
    expect(() => copy('f', '/f')).toThrow('cannot replace to directory /f with file')
    expect(() => copy('d', '/d')).toThrow('cannot copy to non-directory: /d')
    copy('d', '/new')
    expect(() => copy('e', '/new')).toThrow('cannot replace to directory /new/x with file')
  })

  test('C12 leaves the top directory as it is, gives nested ones the attributes of the source', () => {
    sh(`cd context; mkdir -p d/n; echo -n new > d/n/f; chmod 711 d/n; touch -d @1000 d/n
        cd ../root; mkdir -p t/n; echo old > t/n/f; chmod 700 t t/n; touch -d @2000 t`)
    copy('d', '/t')
    const [top, nested] = [statSync(at('root/t')), statSync(at('root/t/n'))]
    expect([top.mode & 0o7777, top.mtimeMs / 1000]).toEqual([0o700, 2000])
    expect([nested.mode & 0o7777, nested.mtimeMs / 1000]).toEqual([0o711, 1000])
    expect(readFileSync(at('root/t/n/f'), 'utf8')).toBe('new')
  })

  test('C14 keeps modes, times, attributes, links, FIFOs and devices; leaves sockets', () => {
    sh(`cd context; mkdir d; cd d; echo 1 > a; ln a b; mkfifo p; mknod c c 1 3; chmod 4755 a
        touch -d '2001-02-03 04:05:06.123456789Z' a
        python3 -c 'import os,socket; os.setxattr("a","user.x",b"1"); socket.socket(socket.AF_UNIX).bind("s")'`)
    copy('d', '/d', { owner: { uid: 0, gid: 0 } })
    const stat = lstatSync(at('root/d/a'), { bigint: true })
    expect([stat.nlink, stat.mode & 0o7777n, stat.mtimeNs]).toEqual([
      2n,
      0o4755n,
      981173106123456789n,
    ])
    expect(lstatSync(at('root/d/c')).rdev).toBe(0x103)
    expect(tree()).toEqual(['d dir', 'd/a "1\\n"', 'd/b "1\\n"', 'd/c char', 'd/p fifo'])
  })

  test('C15 keeps owners when no other is given', () => {
    sh('echo 1 > context/f; chown 12:34 context/f')
    copy('f', '/f')
    expect([statSync(at('root/f')).uid, statSync(at('root/f')).gid]).toEqual([12, 34])
  })

  test('C18 takes what the filter keeps; a directory only passed through comes with its file', () => {
    sh(
      'cd context; mkdir -p d/keep d/drop/deep d/none; touch d/keep/a d/drop/b d/drop/deep/c d/none/x; chmod 700 d/drop',
    )
    copy('d', '/', {
      filter: (path, kind) => {
        if (path === 'drop' || path === 'none' || path === 'drop/deep') return 'descend'
        return kind === 'directory' || path === 'drop/deep/c' || path === 'keep/a' ? 'keep' : 'drop'
      },
    })
    expect(tree()).toEqual(['drop dir', 'drop/deep dir', 'drop/deep/c ""', 'keep dir', 'keep/a ""'])
    expect(statSync(at('root/drop')).mode & 0o7777).toBe(0o700)
  })

  test('C22 C23 copies odd names, long names, and sparse files as sparse files', () => {
    sh(`cd context; mkdir d; cd d; touch -- '-x' 'a b' '[z]%' "$(printf 'n\\nl\\377')" ${'n'.repeat(255)}
        truncate -s 64M sparse; printf end | dd of=sparse bs=1 seek=30000000 conv=notrunc 2>/dev/null`)
    expect(copy('d', '/d')).toBe(6)
    expect([
      statSync(at('root/d/sparse')).size,
      statSync(at('root/d/sparse')).blocks < 1000,
    ]).toEqual([2 ** 26, true])
    sh('cmp context/d/sparse root/d/sparse')
  })

  test('fills what is new in the layer itself, and makes the layer that overlayfs makes', async () => {
    sh(`cd context; mkdir -p old/new/deep old/other fresh; echo 1 > old/a; ln old/a old/new/a
        echo 2 > old/new/b; ln old/new/b old/new/deep/b; ln old/new/b old/c; ln -s a old/new/l
        echo 3 > fresh/f; echo 4 > old/other/own; touch -d @1 old/new/b old/new old/a
        setfattr -n user.x -v y old/new/b; mkfifo old/new/p`)
    sh('mkdir -p root/old/other; echo 5 > root/old/other/kept; echo 6 > root/old/a')
    const times = { mtime: { seconds: 7, nanoseconds: 0 } }
    let filled = 0
    const layers: (HashedDiff & { readonly shown: string[] })[] = []
    for (const name of ['in-layer', 'through-overlayfs']) {
      sh(`mkdir -p ${name}/upper ${name}/work; touch -r root ${name}/upper`)
      const lower = [at('root')]
      const upper = at(name, 'upper')
      using source = openRoot({ kind: 'directory', path: at('context'), readOnly: true })
      using root = openRoot({ kind: 'overlay', lower, upper, work: at(name, 'work') })
      const openInLayer = (fd: number) => {
        const layer = name === 'in-layer' ? root.openInLayer(fd) : undefined
        if (layer !== undefined) filled += 1
        return layer
      }
      const target = { ...root, openInLayer }
      // The second time finds what the first one made.
      for (const path of ['/', '/made', '/made']) {
        copyTree({ root: source, path: '/' }, { root: target, path }, times)
      }
      layers.push({ ...(await hashDiff({ upper, lower })), shown: listTree(root) })
    }
    const [own, theirs] = layers
    expect(own).toEqual(theirs)
    expect(own?.shown).toContain('old/other/kept "5\\n"')
    // Of the first copy `old/new` and `fresh`, of the second all of `made`.
    expect(filled).toBe(3)
  })

  test('refuses a source that does not exist, naming it', () => {
    expect(() => copy('none', '/x')).toThrow('Cannot copy "/none": not found')
  })
})
