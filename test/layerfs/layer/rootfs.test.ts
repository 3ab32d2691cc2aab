import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openRoot } from '../../../src/layerfs/layer/rootfs.ts'

let dir: string
const at = (...names: string[]): string => join(dir, ...names)
const attributes = { mode: 0o755, uid: 7, gid: 8, time: { seconds: 1000, nanoseconds: 0 } }

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rootfs-test-'))
  mkdirSync(at('root/etc'), { recursive: true })
  writeFileSync(at('root/etc/passwd'), 'inside')
  mkdirSync(at('outside'))
  writeFileSync(at('outside/secret'), 'secret')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const open = () => openRoot({ kind: 'directory', path: at('root'), readOnly: false })

describe('Root.readFile()', () => {
  test('reads through a link whose absolute target is inside (C16)', () => {
    symlinkSync('/etc/passwd', at('root/users'))
    using root = open()
    expect(root.readFile('/users', 100).toString()).toBe('inside')
  })

  test('stays inside when a link climbs out', () => {
    symlinkSync('../../../outside/secret', at('root/climb'))
    symlinkSync(at('outside/secret'), at('root/absolute'))
    using root = open()
    expect(() => root.readFile('/climb', 100)).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    )
    expect(() => root.readFile('absolute', 100)).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    )
    expect(() => root.readFile('../outside/secret', 100)).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    )
  })

  test('refuses a FIFO without waiting for a writer (the class of CVE-2024-9676)', () => {
    execFileSync('mkfifo', [at('root/etc/fifo')])
    using root = open()
    expect(() => root.readFile('/etc/fifo', 100)).toThrow('not a regular file')
  })

  test('refuses a file above the limit, also an endless one', () => {
    using root = open()
    expect(() => root.readFile('/etc/passwd', 5)).toThrow(
      expect.objectContaining({ code: 'too-large' }),
    )
    expect(root.readFile('/etc/passwd', 6).toString()).toBe('inside')
  })
})

describe('Root.mkdirs()', () => {
  test('creates what is missing with owner, mode and time, and says so', () => {
    using root = open()
    expect(root.mkdirs('/a/b', attributes)).toBe(true)
    expect(root.mkdirs('/a/b', attributes)).toBe(false)
    const stat = statSync(at('root/a/b'))
    expect([stat.mode & 0o7777, stat.uid, stat.gid, stat.mtimeMs]).toEqual([0o755, 7, 8, 1_000_000])
    expect(statSync(at('root/a')).uid).toBe(7)
  })

  test('follows dangling links inside the root, never outside (C10)', () => {
    symlinkSync('/data/app', at('root/app'))
    symlinkSync('../../../outside', at('root/out'))
    using root = open()
    expect(root.mkdirs('/app/x', attributes)).toBe(true)
    expect(statSync(at('root/data/app/x')).isDirectory()).toBe(true)
    root.mkdirs('/out/made', attributes)
    expect(() => statSync(at('outside/made'))).toThrow('ENOENT')
    expect(statSync(at('root/outside/made')).isDirectory()).toBe(true)
  })

  test('refuses a file in its way, and a loop of links', () => {
    symlinkSync('loop', at('root/loop'))
    using root = open()
    expect(() => root.mkdirs('/etc/passwd', attributes)).toThrow('a file is there')
    expect(() => root.mkdirs('/etc/passwd/x', attributes)).toThrow('is not a directory')
    expect(() => root.mkdirs('/loop/x', attributes)).toThrow('loop')
  })
})

describe('openRoot()', () => {
  test('shows an overlay without mounting it anywhere', () => {
    mkdirSync(at('upper'))
    mkdirSync(at('work'))
    mkdirSync(at('base'))
    writeFileSync(at('base/low'), 'low')
    using root = openRoot({
      kind: 'overlay',
      lower: [at('root'), at('base')],
      upper: at('upper'),
      work: at('work'),
    })
    expect(root.readFile('low', 10).toString()).toBe('low')
    root.mkdirs('/etc/new', attributes)
    expect(statSync(at('upper/etc/new')).uid).toBe(7)
  })

  test('says which directory is missing', () => {
    const missing = { kind: 'directory', path: at('none'), readOnly: true } as const
    expect(() => openRoot(missing)).toThrow(
      `Cannot open directory "${at('none')}": no such file or directory (ENOENT)`,
    )
  })
})
