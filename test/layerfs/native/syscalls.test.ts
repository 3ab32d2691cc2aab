import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { atCwd, openFlags, resolve, syscalls } from '../../../src/layerfs/native/syscalls.ts'
import { describeWith } from '../../support/requires.ts'

const sys = syscalls()
let root: string
let fd: number

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsbuild-syscalls-'))
  fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY)
})

afterEach(() => {
  closeSync(fd)
  rmSync(root, { recursive: true })
})

describeWith(['root'], 'createFile', () => {
  const numbers = (mode: number, uid = 0, gid = 0) =>
    new Float64Array([fd, mode, uid, gid, -1, 999_999_999])

  it('makes a file whose owner, mode and time are exact whatever the umask', () => {
    const before = process.umask(0o077)
    try {
      for (const mode of [0o644, 0o000, 0o777, 0o4755, 0o7777]) {
        const name = `f${mode}`
        sys.createFile(name, Buffer.from('content'), numbers(mode, 0xfffffffe, 12))
        const { uid, gid, size, mtime, mode: found } = sys.statx(fd, name)
        expect({ uid, gid, size, mtime, mode: found & 0o7777 }).toEqual({
          uid: 0xfffffffe,
          gid: 12,
          size: 7,
          mtime: { seconds: -1, nanoseconds: 999_999_999 },
          mode,
        })
      }
    } finally {
      process.umask(before)
    }
  })

  it('gives the group that was asked for, not that of a directory with setgid', () => {
    mkdirSync(join(root, 'shared'))
    sys.fchownat(fd, 'shared', [0, 77])
    sys.fchmodat(fd, 'shared', 0o2777)
    const shared = openSync(join(root, 'shared'), 'r')
    sys.createFile('f', Buffer.alloc(0), new Float64Array([shared, 0o2644, 0, 0, 0, 0]))
    expect(sys.statx(shared, 'f')).toMatchObject({ gid: 0, mode: 0o102644 })
    closeSync(shared)
  })

  it('follows no link and writes over nothing', () => {
    symlinkSync('elsewhere', join(root, 'link'))
    writeFileSync(join(root, 'file'), 'mine')
    for (const name of ['link', 'file', '.']) {
      const attempt = () => sys.createFile(name, Buffer.from('theirs'), numbers(0o644))
      expect(attempt).toThrow(expect.objectContaining({ code: 'EEXIST', syscall: 'openat' }))
    }
    expect(readFileSync(join(root, 'file'), 'utf8')).toBe('mine')
    expect(existsSync(join(root, 'elsewhere'))).toBe(false)
  })

  it('refuses numbers that are too few or of another type', () => {
    for (const wrong of [new Float64Array(5), new Uint32Array(6) as unknown as Float64Array]) {
      expect(() => sys.createFile('f', Buffer.alloc(0), wrong)).toThrow(TypeError)
    }
  })
})

describe('openat2', () => {
  it('keeps a walk through symbolic links inside the root', () => {
    writeFileSync(join(root, 'passwd'), 'inside')
    mkdirSync(join(root, 'etc'))
    symlinkSync('/passwd', join(root, 'etc/passwd'))
    const opened = sys.openat2(fd, '/../etc/passwd', [constants.O_RDONLY, 0, resolve.inRoot])
    expect(sys.statx(opened, '').size).toBe(6)
    closeSync(opened)
  })

  it('throws the kernel error as Node would, with code, errno, syscall and path', () => {
    expect(() => sys.openat2(fd, 'nope', [constants.O_RDONLY, 0, 0])).toThrow(
      expect.objectContaining({
        code: 'ENOENT',
        errno: -2,
        syscall: 'openat2',
        path: 'nope',
        message: "ENOENT: No such file or directory, openat2 'nope'",
      }),
    )
  })

  it('refuses a name with a NUL, which the kernel would read as another name', () => {
    expect(() => sys.openat2(fd, 'a\0b', [constants.O_RDONLY, 0, 0])).toThrow(TypeError)
    expect(() => sys.mkdirat(fd, Buffer.from([97, 0, 98]), 0o755)).toThrow(TypeError)
  })

  it.each([
    ['x'.repeat(5000)],
    // Cut where it is too long, they are other names, which the kernel takes.
    [`${'./'.repeat(2047)}€€`],
    [`${'./'.repeat(2046)}xyz€`],
  ])('refuses a path longer than the kernel takes', name => {
    expect(() => sys.mkdirat(fd, name, 0o755)).toThrow(
      expect.objectContaining({ code: 'ENAMETOOLONG' }),
    )
  })
})

describe('utimensat', () => {
  it('keeps nanoseconds, times before 1970 and after 2038, also of a link itself', () => {
    sys.symlinkat('gone', fd, 'link')
    const times = [
      { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
      { seconds: -1, nanoseconds: 5 },
      { seconds: 5_000_000_000, nanoseconds: 0 },
    ]
    for (const time of times) {
      sys.utimensat(fd, 'link', time)
      expect(sys.statx(fd, 'link').mtime).toEqual(time)
    }
  })
})

describe('names', () => {
  it('round-trip as bytes that are not UTF-8', () => {
    const name = Buffer.from([0x66, 0xff, 0x0a, 0x80])
    sys.mkdirat(fd, name, 0o700)
    expect(sys.readdir(fd)).toEqual([{ name, type: 4 }])
    sys.symlinkat(name, fd, 'to')
    expect(sys.readlinkat(fd, 'to')).toEqual(name)
  })
})

describe('extended attributes', () => {
  it('keep binary values, of a file and by path', () => {
    writeFileSync(join(root, 'f'), '')
    const value = Buffer.from([0, 255, 10, 128])
    const file = openSync(join(root, 'f'), 'r')
    sys.fsetxattr(file, 'user.small', value)
    sys.lsetxattr(`/proc/self/fd/${fd}/f`, 'user.large', Buffer.alloc(2000, 7))
    expect(sys.fgetxattr(file, 'user.small')).toEqual(value)
    expect(sys.lgetxattr(join(root, 'f'), 'user.large')).toHaveLength(2000)
    expect(sys.flistxattr(file).map(String).sort()).toEqual(['user.large', 'user.small'])
    sys.fremovexattr(file, 'user.small')
    expect(() => sys.fgetxattr(file, 'user.small')).toThrow(
      expect.objectContaining({ code: 'ENODATA' }),
    )
    closeSync(file)
  })
})

describe('flock', () => {
  it('refuses a second exclusive lock at once when asked not to wait', () => {
    writeFileSync(join(root, 'lock'), '')
    const one = openSync(join(root, 'lock'), 'r')
    const two = openSync(join(root, 'lock'), 'r')
    sys.flock(one, 2)
    expect(() => sys.flock(two, 2 | 4)).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    closeSync(one)
    sys.flock(two, 2 | 4)
    closeSync(two)
  })
})

describe.skipIf(process.getuid?.() !== 0)('as root', () => {
  it('mounts an overlay that exists only as a descriptor', () => {
    for (const name of ['lower1', 'lower2', 'upper', 'work']) mkdirSync(join(root, name))
    writeFileSync(join(root, 'lower1/file'), 'lower')
    const context = sys.fsopen('overlay')
    sys.fsconfig(context, 1, ['lowerdir+', join(root, 'lower2')])
    sys.fsconfig(context, 1, ['lowerdir+', join(root, 'lower1')])
    sys.fsconfig(context, 1, ['upperdir', join(root, 'upper')])
    sys.fsconfig(context, 1, ['workdir', join(root, 'work')])
    sys.fsconfig(context, 6, [null, null])
    const mount = sys.fsmount(context, 0)
    closeSync(context)
    sys.unlinkat(mount, 'file', 0)
    closeSync(mount)
    const whiteout = sys.statx(atCwd, join(root, 'upper/file'))
    expect([whiteout.mode & constants.S_IFMT, whiteout.rdevMajor, whiteout.rdevMinor]).toEqual([
      constants.S_IFCHR,
      0,
      0,
    ])
  })

  it('tells why the kernel refused a mount in its own words', () => {
    const context = sys.fsopen('overlay')
    expect(() => sys.fsconfig(context, 1, ['nonsense', 'x'])).toThrow(/Unknown parameter/)
    closeSync(context)
  })

  it('sets owners to the end of the 32-bit range', () => {
    writeFileSync(join(root, 'f'), '')
    const path = sys.openat2(fd, 'f', [openFlags.path, 0, resolve.beneath])
    sys.fchownat(path, '', [4_294_967_294, 3_000_000])
    expect(sys.statx(path, '')).toMatchObject({ uid: 4_294_967_294, gid: 3_000_000 })
    closeSync(path)
  })
})
