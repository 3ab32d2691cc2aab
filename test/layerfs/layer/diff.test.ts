import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { diffLayer, hashDiff } from '../../../src/layerfs/layer/diff.ts'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import {
  type Bench,
  diffIdOf,
  dir,
  type EntryDraft,
  file,
  fully,
  hardlink,
  layerBench,
  listTree,
  symlink,
} from './layer-support.ts'

interface Changed {
  /** As GNU tar lists it. */
  readonly names: string[]
  readonly tar: Buffer
}

/** Runs `script` in an overlay on `base`, as a RUN step would, and diffs what it did. */
async function changed(
  base: readonly EntryDraft[],
  script: string,
  more: { clampTo?: number } = {},
): Promise<Changed> {
  using bench = layerBench()
  await bench.apply(base)
  const upper = runStep(bench, script)
  const tar = Buffer.concat([...diffLayer({ upper, lower: bench.layers, ...more })])
  await expectSameTree(bench, upper, { tar, ...more })
  return { names: gnuNames(tar), tar }
}

function runStep(bench: Bench, script: string): string {
  const at = (name: string): string => join(bench.dir, name)
  for (const name of ['upper', 'work', 'merged']) mkdirSync(at(name))
  const options = `lowerdir=${bench.layers.join(':')},upperdir=${at('upper')},workdir=${at('work')}`
  const program = `mount -t overlay overlay -o ${options},redirect_dir=off,index=off,metacopy=off ${at('merged')} && cd ${at('merged')} && umask 022 && ${script}`
  execFileSync('unshare', ['-m', 'sh', '-ec', program], { stdio: 'pipe' })
  return at('upper')
}

/** Applying the diff gives the tree that was diffed. */
async function expectSameTree(
  bench: Bench,
  upper: string,
  { tar, clampTo }: { tar: Buffer; clampTo?: number },
): Promise<void> {
  using before = openRoot({ kind: 'overlay', lower: [upper, ...bench.layers] })
  const expected = listTree(before, fully)
    .filter(line => !line.includes(' other '))
    .map(withoutTime)
  await bench.apply(tar)
  using after = bench.view()
  expect(listTree(after, fully).map(withoutTime)).toEqual(expected)
  if (clampTo !== undefined) return
  const again = Buffer.concat([
    ...diffLayer({ upper: bench.layers[0] ?? '', lower: bench.layers.slice(1) }),
  ])
  expect(gnuNames(again)).toEqual(gnuNames(tar))
}

/** A tar's times are whole seconds; a directory's change with its siblings. */
function withoutTime(line: string): string {
  return line.replace(/ -?\d+\.\d+ /, ' ')
}

function gnuNames(tar: Buffer): string[] {
  return execFileSync('tar', ['-tf', '-'], { input: tar }).toString().split('\n').filter(Boolean)
}

const base = [
  dir('d'),
  file('d/a', 'a'),
  file('d/b', 'b'),
  dir('d/sub'),
  file('d/sub/x', 'x'),
  file('f', 'f'),
  symlink('l', 'f'),
]

describe('diffLayer()', () => {
  test('gives two zero blocks and nothing else where nothing changed', async () => {
    const { names, tar } = await changed(base, 'true')
    expect(names).toEqual([])
    expect(tar).toEqual(Buffer.alloc(1024))
  })

  test('O09 names a change with the directories above it, whiteouts first, in byte order', async () => {
    const script = 'echo n > d/sub/n; echo n > d/A; rm d/a f; echo n > d/sub.x'
    const { names } = await changed(base, script)
    expect(names).toEqual(['.wh.f', 'd/', 'd/.wh.a', 'd/A', 'd/sub/', 'd/sub/n', 'd/sub.x'])
  })

  test('O10 a touched file is a change; one moved away and back is not', async () => {
    expect((await changed(base, 'touch f')).names).toEqual(['f'])
    expect((await changed(base, 'mv f g; mv g f; mv d/a d/z; mv d/z d/a')).names).toEqual([])
    expect((await changed(base, 'touch tmp; rm tmp; touch d/tmp; rm d/tmp')).names).toEqual([])
  })

  test('a file with the same size and time but other bytes is a change', async () => {
    expect(
      (await changed(base, 'touch -r f /tmp/.t$$; printf g > f; touch -r /tmp/.t$$ f')).names,
    ).toEqual(['f'])
  })

  test('O10 a directory made again hides each name that is gone', async () => {
    const { names } = await changed(base, 'rm -r d; mkdir d; echo n > d/n')
    expect(names).toEqual(['d/', 'd/.wh.a', 'd/.wh.b', 'd/.wh.sub', 'd/n'])
  })

  test('O10 a directory made again inside one made again hides what is below both', async () => {
    const { names } = await changed(base, 'rm -r d; mkdir -p d/sub; echo n > d/sub/n')
    expect(names).toEqual(['d/', 'd/.wh.a', 'd/.wh.b', 'd/sub/', 'd/sub/.wh.x', 'd/sub/n'])
  })

  test('O10 a large directory made again is opaque', async () => {
    const many = Array.from({ length: 200 }, (_, index) => file(`d/${index}`))
    const { names } = await changed([...base, ...many], 'rm -r d; mkdir d; printf a > d/a')
    expect(names).toEqual(['d/', 'd/.wh..wh..opq', 'd/a'])
  })

  test('a new directory is not opaque: no layer below has it', async () => {
    expect((await changed(base, 'mkdir n; touch n/x')).names).toEqual(['n/', 'n/x'])
  })

  test('O10 keeps a change of type, both ways', async () => {
    const { names } = await changed(base, 'rm -r d; echo d > d; rm f; mkdir f; rm l; ln -s d l')
    expect(names).toEqual(['d', 'f/', 'l'])
  })

  test('keeps hard links, the first name in order being the file', async () => {
    const { tar } = await changed(base, 'echo n > z; ln z d/y; ln z b; ln f f2')
    const listing = execFileSync('tar', ['-tvf', '-'], { input: tar }).toString()
    expect(listing).toMatch(
      / b\n[\s\S]* d\/y link to b\n[\s\S]* f\n[\s\S]* f2 link to f\n[\s\S]* z link to b\n/,
    )
  })

  test('keeps devices, FIFOs, long names, odd names and large ids; skips sockets', async () => {
    const long = 'n'.repeat(255)
    const script = [
      'mkfifo p; mknod c c 1 3; mknod b b 7 0; chmod 4755 f; chown 3000000:4000000000 d/a',
      `mkdir -p ${long}/${long}; touch ${long}/${long}/x; touch "$(printf 'a\\nb\\377')"`,
      'python3 -c \'import socket; socket.socket(socket.AF_UNIX).bind("s")\'',
      'touch -d 1969-12-31T23:59:58Z early; touch -d 2300-01-01T00:00:00Z late',
    ].join('; ')
    const { names } = await changed(base, script)
    expect(names).not.toContain('s')
    expect(names).toContain(`${long}/${long}/x`)
  })

  test('keeps every portable attribute with its bytes, and none of overlayfs (A20–A22)', async () => {
    const script = `python3 - <<'END'
import os
os.setxattr('f', 'user.bin', b'a\\n\\0=\\xff')
os.setxattr('f', 'user.empty', b'')
os.setxattr('d', 'user.dir', b'1')
os.setxattr('l', 'trusted.link', b'1', follow_symlinks=False)
os.setxattr('d/a', 'security.capability', bytes.fromhex('0000000200000000000000000000000000000000') [:3] + b'\\x02' + bytes(16))
END`
    const { tar } = await changed(base, script)
    expect(tar.includes(Buffer.from('SCHILY.xattr.user.bin=a\n\0=\xff\n', 'latin1'))).toBe(true)
    expect(tar.includes('security.capability')).toBe(true)
    expect(tar.includes('overlay')).toBe(false)
  })

  test('keeps what is something else among many plain files in its place', async () => {
    const script = [
      'mkdir n; cd n; for i in $(seq 100 299); do echo $i > $i; done',
      'ln 150 150a; ln -s 150 160a; mkdir 170a; head -c 700000 /dev/urandom > 180a; touch 190ä',
      'python3 -c \'import os; os.setxattr("200", "user.x", b"1")\'',
      'chown 3000000 210; touch -d 1969-12-31 220; truncate -s 600000 230; cd ..; mkdir o; echo o > o/o',
    ].join('; ')
    const { names, tar } = await changed(base, script)
    const made = Array.from({ length: 200 }, (_, index) => `n/${100 + index}`)
    const odd = ['n/150a', 'n/160a', 'n/170a/', 'n/180a', 'n/190+']
    // GNU tar shows it as the locale has it.
    const shown = names.map(name => name.replace(/^n\/190.+/, 'n/190+'))
    expect(shown).toEqual(['n/', ...[...made, ...odd].sort(), 'o/', 'o/o'])
    expect(tar.includes('SCHILY.xattr.user.x=1')).toBe(true)
  })

  test('refuses a name that a layer cannot hold, saying what to do', async () => {
    await expect(changed(base, 'touch d/.wh.x')).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('"/d/.wh.x"'),
      hint: expect.stringContaining('rename'),
    })
  })

  test('clamps times, never raising one', async () => {
    const { tar } = await changed(base, 'touch n; touch -d @500 o', { clampTo: 1000 })
    const listing = execFileSync('tar', ['--utc', '--full-time', '-tvf', '-'], { input: tar })
    expect(listing.toString()).toMatch(/1970-01-01 00:16:40 n\n.*1970-01-01 00:08:20 o\n/)
  })

  test('python reads what we write as it is on disk', async () => {
    const { tar } = await changed(base, 'echo hi > n; ln n m; ln -s n s; chown 5:6 n; chmod 640 n')
    const program = [
      'import tarfile,sys,io',
      't=tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))',
      'for m in t: print(m.name,m.type.decode(),oct(m.mode),m.uid,m.gid,m.size,m.linkname)',
    ].join('\n')
    const listing = execFileSync('python3', ['-c', program], { input: tar }).toString()
    expect(listing).toBe('m 0 0o640 5 6 3 \nn 1 0o640 5 6 0 m\ns 2 0o777 0 0 0 n\n')
  })
})

describe('hashDiff()', () => {
  test('hashes the bytes that diffLayer() gives, now and later, from another place', async () => {
    using bench = layerBench()
    await bench.apply(base)
    const upper = runStep(bench, 'rm -r d; mkdir d; seq 100000 > big; ln big link')
    const request = { upper, lower: bench.layers }
    const first = await hashDiff(request)
    const bytes = Buffer.concat([...diffLayer(request)])
    const known = { diffId: diffIdOf(bytes), size: bytes.length, entries: 6, empty: false }
    expect(first).toMatchObject(known)
    expect(await hashDiff(request)).toEqual(first)
  })

  test('looks the same where times alone differ, whatever way files were read', async () => {
    using bench = layerBench()
    await bench.apply(base)
    const make =
      'mkdir n; for i in $(seq 300); do echo $i > n/$i; done; head -c 600000 /dev/zero > n/z'
    const upper = runStep(bench, make)
    const look = async () => (await hashDiff({ upper, lower: bench.layers })).look
    const first = await look()
    execFileSync('find', [upper, '-exec', 'touch', '-d', '1960-05-06', '{}', '+'])
    expect(await look()).toBe(first)
    execFileSync('touch', [join(upper, 'n/7')])
    expect(await look()).toBe(first)
    execFileSync('sh', ['-c', 'echo 8 > "$0/n/7"', upper])
    expect(await look()).not.toBe(first)
  })

  test.each(['true', 'chmod 700 .'])('knows the tar in which nothing changed: %s', async script => {
    using bench = layerBench()
    await bench.apply([...base, hardlink('h', 'f')])
    const request = { upper: runStep(bench, script), lower: bench.layers }
    const bytes = Buffer.concat([...diffLayer(request)])
    const known = { diffId: diffIdOf(bytes), size: bytes.length, entries: 0, empty: true }
    expect(await hashDiff(request)).toMatchObject(known)
  })
})
