/** What we write reads the same by GNU tar, bsdtar, Go's archive/tar and Python's tarfile. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'
import { describeWith } from '../../support/requires.ts'
import {
  dir,
  type EntryDraft,
  entryOf,
  file,
  fully,
  hardlink,
  layerBench,
  listTree,
  symlink,
  tarOf,
} from '../layer/layer-support.ts'

const binary = Buffer.from([0, 10, 61, 255, 128])

/** No two names of bytes that are no UTF-8: what readers make of those is their own. */
const drafts: readonly EntryDraft[] = [
  dir('d', { mode: 0o1777 }),
  file('d/plain', 'content', { mode: 0o4755 }),
  file('d/zeros', '\0'.repeat(1000)),
  file('d/größe-\u{1f600}', 'name beyond ASCII'),
  file(`d/${'n'.repeat(255)}`, 'a long name'),
  dir(`d/${'deep/'.repeat(59)}deep`),
  file(`d/${'deep/'.repeat(60)}f`, 'a long path'),
  symlink('d/link', `${'t/'.repeat(150)}target`),
  { ...hardlink('d/hard', 'd/plain'), mode: 0o4755 },
  { path: 'd/fifo', type: 'fifo' },
  { path: 'd/null', type: 'character-device', device: [1, 3], mode: 0o666 },
  file('owners', 'x', { uid: 2 ** 32 - 2, gid: 3_000_000 }),
  file('early', 'x', { seconds: -86_400 * 365 * 30, nanoseconds: 0 }),
  file('fraction', 'x', { seconds: 1_700_000_000, nanoseconds: 123_456_789 }),
  file('before-1970-by-a-fraction', 'x', { seconds: -5, nanoseconds: 250_000_000 }),
  file('late', 'x', { seconds: 2 ** 33 + 7 }),
  file('attributes', 'x', { xattrs: { 'user.binary': binary, 'user.text': 'täxt' } }),
]
const tar = tarOf(drafts)

describeWith(['root'], 'a tar that we wrote', () => {
  /** As we unpack it. */
  async function expected(): Promise<string[]> {
    using bench = layerBench()
    await bench.apply(tar)
    using view = bench.view()
    return comparable(listTree(view, fully))
  }

  function unpackedBy(program: string, args: readonly string[]): string[] {
    const directory = mkdtempSync(join(tmpdir(), 'readers-'))
    try {
      execFileSync(program, [...args, '-xpf', '-', '-C', directory], { input: tar, stdio: 'pipe' })
      using root = openRoot({ kind: 'directory', path: directory, readOnly: true })
      return comparable(listTree(root, fully))
    } finally {
      rmSync(directory, { recursive: true })
    }
  }

  it('is unpacked by GNU tar as by us', async () => {
    const flags = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--delay-directory-restore']
    expect(unpackedBy('tar', flags)).toEqual(await expected())
  })

  /** libarchive adds the fraction of a time before 1970 where it is to be taken away. */
  const isMisread = (line: string) => line.startsWith('before-1970-by-a-fraction')

  it('is unpacked by bsdtar as by us', async ({ skip }) => {
    if (spawnSync('bsdtar', ['--version']).error !== undefined) skip('bsdtar (libarchive-tools)')
    const unpacked = unpackedBy('bsdtar', ['--numeric-owner', '--xattrs'])
    const wanted = (await expected()).filter(line => !isMisread(line))
    expect(unpacked.filter(line => !isMisread(line))).toEqual(wanted)
  })

  it('is read by Python as we meant it', () => {
    const lines = execFileSync('python3', ['-c', python], { input: tar }).toString()
    expect(lines.trim().split('\n')).toEqual(drafts.map(meant))
  })

  it('is read by Go as we meant it', ({ skip }) => {
    if (spawnSync('go', ['version']).error !== undefined) skip('go (golang-go)')
    const directory = mkdtempSync(join(tmpdir(), 'readers-go-'))
    try {
      writeFileSync(join(directory, 'main.go'), go)
      const options = { input: tar, env: { ...process.env, GO111MODULE: 'off' } }
      const lines = execFileSync('go', ['run', join(directory, 'main.go')], options).toString()
      expect(lines.trim().split('\n')).toEqual(drafts.map(meant))
    } finally {
      rmSync(directory, { recursive: true })
    }
  }, 120_000)
})

/** Directories that no entry describes get the time of the unpacking. */
function comparable(lines: readonly string[]): string[] {
  return lines.map(line =>
    /^d\/deep[/de p]* dir /.test(line) ? line.split(' ')[0] : line,
  ) as string[]
}

const typeFlags = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
} as const

/** One line of JSON, as the programs below print it. */
function meant(draft: EntryDraft): string {
  const entry = entryOf(draft)
  const { seconds, nanoseconds } = entry.mtime
  return JSON.stringify([
    entry.path.toString().replace(/\/$/, ''),
    typeFlags[entry.type],
    entry.mode,
    entry.uid,
    entry.gid,
    entry.size,
    String(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)),
    entry.linkPath.toString(),
    [entry.devMajor, entry.devMinor],
    entry.xattrs.map(({ name, value }) => `${name}=${value.toString('hex')}`).sort(),
  ])
}

const python = `
import sys, io, json, tarfile
from decimal import Decimal
for m in tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())):
  time = Decimal(m.pax_headers.get('mtime', int(m.mtime)))
  xattrs = sorted(k[13:] + '=' + v.encode('utf-8', 'surrogateescape').hex()
    for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.'))
  print(json.dumps([m.name, m.type.decode(), m.mode, m.uid, m.gid, m.size, str(int(time * 10**9)),
    m.linkname, [m.devmajor, m.devminor], xattrs], separators=(',', ':'), ensure_ascii=False))
`

const go = `package main

import (
	"archive/tar"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"sort"
	"strings"
)

func main() {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for reader := tar.NewReader(os.Stdin); ; {
		h, err := reader.Next()
		if err != nil {
			if err.Error() != "EOF" {
				fmt.Println(err)
			}
			return
		}
		time := new(big.Int).Mul(big.NewInt(h.ModTime.Unix()), big.NewInt(1000000000))
		time.Add(time, big.NewInt(int64(h.ModTime.Nanosecond())))
		xattrs := []string{}
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				xattrs = append(xattrs, name+"="+hex.EncodeToString([]byte(value)))
			}
		}
		sort.Strings(xattrs)
		out.Encode([]any{strings.TrimSuffix(h.Name, "/"), string(h.Typeflag), h.Mode, h.Uid, h.Gid,
			h.Size, time.String(), h.Linkname, []int64{h.Devmajor, h.Devminor}, xattrs})
	}
}
`
