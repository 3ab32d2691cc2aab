/**
 * The system calls that Node lacks, one function each, without policy; for speed also one for six
 * of them, those for the plain files of a whole directory, or those of a tar, hashes in the thread pool, and threads
 * that receive a blob, read a layer ahead, and move bytes between sockets.
 *
 * They are synchronous (they run in workers or take microseconds) and throw Node's own kind of
 * error: `code: 'ENOENT'`, `errno`, `syscall: 'openat2'`. Names and targets are strings (UTF-8) or
 * bytes: a file name on Linux is bytes, and only bytes round-trip. A `dirFd` is an open directory
 * or {@link atCwd}. Times are whole seconds (negative before 1970) and nanoseconds 0–999,999,999.
 *
 * Compiled by `npm run build` from addon/; see scripts/build-native.mjs.
 */
import { OciError } from '../../oci/errors.ts'
import { nativeHint, nativePath } from './native-programs.ts'

export type Name = string | Uint8Array

/** What `statx` tells. `ino` is exact: an overlay's can exceed 2^53. */
export interface FileStat {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly links: number
  readonly ino: bigint
  readonly devMajor: number
  readonly devMinor: number
  /** Of a device node. */
  readonly rdevMajor: number
  readonly rdevMinor: number
  readonly mtime: Timestamp
  /** Of the last change of content or attributes; nobody can set it. */
  readonly ctime: Timestamp
  /** 512-byte units on disk. */
  readonly blocks: number
}

export interface Timestamp {
  readonly seconds: number
  readonly nanoseconds: number
}

/** One entry of a directory; `type` is the kernel's d_type (4 directory, 8 file, 10 symlink …). */
export interface DirectoryEntry {
  readonly name: Buffer
  readonly type: number
}

declare const hashHandle: unique symbol
/** What only the native code can look into. */
export interface HashHandle {
  readonly [hashHandle]: true
}

declare const receptionHandle: unique symbol
export interface ReceptionHandle {
  readonly [receptionHandle]: true
}

declare const aheadHandle: unique symbol
export interface AheadHandle {
  readonly [aheadHandle]: true
}

export interface Syscalls {
  /** `resolve`: a union of {@link resolve}; retried on EAGAIN. */
  openat2(
    dirFd: number,
    path: Name,
    how: readonly [flags: number, mode: number, resolve: number],
  ): number
  /**
   * A new file with its content and attributes: open(2) with O_EXCL, write, fchown, fchmod,
   * futimens, close; those left out that would change nothing. After an error, whose `syscall` says
   * how far it came, a file that was made stays. `numbers`: see {@link FileNumbers}.
   */
  createFile(path: Name, content: Uint8Array, numbers: Float64Array): void
  /**
   * The plain files with whose headers `archive`, a piece of a tar, begins, as by {@link createFile}:
   * of those whose path is `directory` and one name behind it, up to the first that is in any way
   * special, that is not whole, whose name is taken, or that cannot be made. Returns how many bytes
   * were dealt with; `counts`: the files, and the bytes of content.
   */
  placeFiles(
    dirFd: number,
    directory: Uint8Array,
    archive: Uint8Array,
    counts: Float64Array,
  ): number
  /**
   * A file of one name, at most 128 KiB and no extended attributes, copied with its attributes: a
   * {@link copyStatus}. `numbers`: see {@link CopyNumbers}. Otherwise as `createFile`.
   */
  copyFile(
    from: readonly [dirFd: number, name: Name],
    to: readonly [dirFd: number, name: Name],
    numbers: Float64Array,
  ): number
  /**
   * As {@link copyFile} for the entries of a directory's listing that are wanted, by several
   * threads. `modes`: of each entry the mode that its copy gets (`numbers` has none of it),
   * {@link ownMode}, or {@link notWanted}. Of each entry, a {@link copyStatus}. Throws the first error; other files may
   * have been copied until then.
   */
  copyFiles(
    from: readonly [dirFd: number, listing: Uint8Array],
    toFd: number,
    modes: Uint8Array,
    numbers: Uint8Array,
  ): Buffer
  /**
   * Of entries of a listing the headers that a tar has, with room for the content behind each: where
   * that begins, and where the last one ends. Up to the first that is no file of one name, that one
   * ustar header cannot describe, or that there is no room for. `directory`: what is put before their
   * names; `latest`: later times become this one.
   */
  tarHeaders(
    entries: Uint8Array,
    directory: Uint8Array,
    latest: number,
    output: Uint8Array,
  ): Uint32Array
  /**
   * The contents of those files to where {@link tarHeaders} left room, by several threads. `false`: one
   * is not as listed any more, or has extended attributes; what is in `output` is then of no use.
   */
  readFiles(
    from: readonly [dirFd: number, entries: Uint8Array],
    starts: Uint32Array,
    output: Uint8Array,
  ): boolean
  /**
   * Of entries of a listing the lines that a cache key is made of (builder/explain/file-line.ts), and
   * of how many: up to the first directory, and the first wanted one that is no regular file, whose
   * digest is not known, or whose name is not ASCII. `digests`: the SHA-256 of each, zeros: not known;
   * `modes`: as they will be, or {@link notWanted}; `null`: their own; `owner`: empty: each its own.
   */
  fileLines(
    entries: Uint8Array,
    digests: Uint8Array,
    modes: Uint8Array | null,
    texts: readonly [path: Uint8Array, owner: Uint8Array],
  ): [count: number, lines: Buffer]
  mkdirat(dirFd: number, path: Name, mode: number): void
  mknodat(
    dirFd: number,
    path: Name,
    node: readonly [mode: number, major: number, minor: number],
  ): void
  symlinkat(target: Name, dirFd: number, path: Name): void
  /** `flags`: 0, or 0x400 (AT_SYMLINK_FOLLOW) to link an open file by its /proc/self/fd path. */
  linkat(
    from: readonly [dirFd: number, path: Name],
    to: readonly [dirFd: number, path: Name],
    flags: number,
  ): void
  /** `flags`: 0 for a file, 0x200 (AT_REMOVEDIR) for an empty directory. */
  unlinkat(dirFd: number, path: Name, flags: number): void
  /** `flags`: 0, 1 (RENAME_NOREPLACE) or 2 (RENAME_EXCHANGE). */
  renameat2(
    from: readonly [dirFd: number, path: Name],
    to: readonly [dirFd: number, path: Name],
    flags: number,
  ): void
  readlinkat(dirFd: number, path: Name): Buffer
  /** Never follows a final symbolic link. An empty path is the open file itself. */
  fchownat(dirFd: number, path: Name, owner: readonly [uid: number, gid: number]): void
  /** Follows a final symbolic link: make sure that it is none. */
  fchmodat(dirFd: number, path: Name, mode: number): void
  fchmod(fd: number, mode: number): void
  /** Sets both times to `time`, of the link itself if it is one. An empty path is the open file. */
  utimensat(dirFd: number, path: Name, time: Timestamp): void
  /** Of the link itself if it is one. An empty path is the open file. */
  statx(dirFd: number, path: Name): FileStat
  /**
   * Whether the path names, not by a link, a file of this version: inode and time of the last change
   * in nanoseconds, 64 bits each. Whatever cannot be looked at is none.
   */
  hasVersion(path: Name, version: Uint8Array): boolean
  /** All entries but `.` and `..`, in the kernel's order. Rewinds first; keeps `fd` open. */
  readdir(fd: number): DirectoryEntry[]
  /**
   * All of them with what `statx` tells, sorted by bytes: see `listing.ts`. What vanishes meanwhile
   * is left out; otherwise as `readdir`.
   */
  listDirectory(fd: number): Buffer
  /** The same with no more than the type of each: what the directory tells without asking for each. */
  listTypes(fd: number): Buffer
  /**
   * Of such a list: how many entries it has, where each begins, where the last one ends, when one of
   * them was changed last (64 bits), and which ones are no files of one name. `null` for bytes that
   * are none.
   */
  indexListing(bytes: Uint8Array): Uint32Array | null
  /** Extended attributes by path, of the link itself if it is one: `/proc/self/fd/N/name`. */
  lgetxattr(path: Name, name: Name): Buffer
  lsetxattr(path: Name, name: Name, value: Uint8Array): void
  llistxattr(path: Name): Buffer[]
  lremovexattr(path: Name, name: Name): void
  /** Extended attributes of an open file (not O_PATH). */
  fgetxattr(fd: number, name: Name): Buffer
  fsetxattr(fd: number, name: Name, value: Uint8Array): void
  flistxattr(fd: number): Buffer[]
  fremovexattr(fd: number, name: Name): void
  /** `operation`: 1 shared, 2 exclusive, 8 unlock; + 4: fail with EAGAIN instead of waiting. */
  flock(fd: number, operation: number): void
  syncfs(fd: number): void
  /** The offset of the next data (`whence` 3) or hole (4); ENXIO past the last. */
  lseek(fd: number, offset: number, whence: number): number
  /** Copies up to `length` bytes between files at their offsets given; returns how many. */
  copyFileRange(
    from: readonly [fd: number, offset: number],
    to: readonly [fd: number, offset: number],
    length: number,
  ): number
  fsopen(type: string): number
  /** `command`: 0 flag, 1 string, 6 create, 7 reconfigure (fsconfig(2)). EINVAL keeps the kernel's own words in `message`. */
  fsconfig(
    fd: number,
    command: number,
    setting: readonly [key: string | null, value: string | null],
  ): void
  /** A detached mount: it lives as long as its descriptor. `attributes`: MOUNT_ATTR_*. */
  fsmount(fd: number, attributes: number): number
  /** `flags`: 1 (OPEN_TREE_CLONE) | 0x8000 (AT_RECURSIVE) | O_CLOEXEC. */
  openTree(dirFd: number, path: Name, flags: number): number
  /** Of a detached mount, before it is attached. `attributes`: MOUNT_ATTR_* to set. */
  mountSetattr(fd: number, attributes: number): void
  moveMount(fromFd: number, toDirFd: number, toPath: Name): void
  umount2(path: Name, flags: number): void
  /** Two ends of a local socket: of bytes, or of messages that arrive whole. */
  socketPair(kind: 'stream' | 'messages'): [number, number]
  /** A second descriptor of the same open file or connection. */
  duplicate(fd: number): number
  /** One message, with descriptors of ours that the other side gets copies of. Waits for room. */
  sendDescriptors(socket: number, message: string, descriptors: readonly number[]): void
  /**
   * Of `input`, the bytes behind the first `before` (at most {@link inflateWindow}, of a piece that
   * stands before it) as raw deflate, in libuv's thread pool. It ends with a sync flush, so pieces are
   * laid end to end. `input` must not change meanwhile, and have less than 2 GiB.
   */
  deflate(input: Uint8Array, before: number): Promise<Buffer>
  /** `sha256` or `sha512` of the OpenSSL in Node; `undefined` where it cannot be had. */
  openHash(algorithm: string): HashHandle | undefined
  /** In libuv's thread pool; until it has settled neither the pieces nor the hash may be used. */
  updateHash(hash: HashHandle, pieces: readonly Uint8Array[]): Promise<void>
  updateHashNow(hash: HashHandle, piece: Uint8Array): void
  copyHash(hash: HashHandle): HashHandle
  /** The digest of what it has seen; it can go on. */
  finishHash(hash: HashHandle): Buffer
  /**
   * A thread that reads the file, from its beginning, inflates it where it `isGzip`, and has `hash`
   * see the bytes. `memory`: {@link aheadSlots} slots, each with room for an {@link inflateWindow}
   * before what is read; until it is closed they are the thread's, and so is the hash.
   */
  openAhead(
    fd: number,
    isGzip: boolean,
    memory: Uint8Array,
    hash: HashHandle | undefined,
  ): AheadHandle
  /**
   * Waits for the next slot, and frees the one before: how many bytes it has, 0 at the end. A text
   * says what makes no sense in a gzip file. The slots take turns.
   */
  nextAhead(ahead: AheadHandle): number | string
  /** Then the hash has seen what was read. Idempotent. */
  closeAhead(ahead: AheadHandle): void
  /**
   * Sends `count` bytes of the file `from`, beginning at `at`, or that come from the socket `from`, where
   * `at` is null, to the socket `to`. Sockets are non-blocking, and left alone until `done` was called,
   * with one of `relayEnds` (relay.ts). Returns an id for the others.
   */
  startRelay(
    from: number,
    at: number | null,
    to: number,
    count: number,
    done: (end: number, sent: number) => void,
  ): number
  /** `done` is still called. */
  stopRelay(id: number): void
  relayProgress(id: number): readonly [received: number, sent: number] | undefined
  /**
   * A thread that appends the next `count` bytes of the socket to the file, and has `hash` see them.
   * `idleMs`: how long none may come. Until `done` was called, with one of `receiveEnds` (receive.ts)
   * and the number of the error, socket, hash and file are left alone.
   */
  startReceive(
    socket: number,
    file: number,
    limits: readonly [count: number, idleMs: number],
    hash: HashHandle,
    done: (end: number, received: number, errno: number) => void,
  ): ReceptionHandle
  /** `done` is still called. */
  stopReceive(reception: ReceptionHandle): void
  receivedSoFar(reception: ReceptionHandle): number
}

/** How far back a gzip file refers: there stands before each slot what was read last. */
export const inflateWindow = 32 * 1024

/** How many pieces of memory a thread that reads ahead fills in turn. */
export const aheadSlots = 4

/** What `createFile` wants of a file, in this order: an array costs a tenth of an object. */
export type FileNumbers = readonly [
  dirFd: number,
  mode: number,
  /** Below 0, also the next: the source's own. */
  uid: number,
  gid: number,
  seconds: number,
  nanoseconds: number,
]

/** What `copyFile` answers. But for `done`, it has made nothing. */
export const copyStatus = { done: 0, notPlain: 1, gone: 2, inTheWay: 3, notWanted: 4 } as const

/** Of `copyFiles` and `fileLines`: no file has this mode. */
export const notWanted = 0xffff_ffff
/** Of `copyFiles`: neither has it this one, which is for the file's own. */
export const ownMode = 0xffff_fffe

/** What `copyFile` wants of the copy, in this order. */
export type CopyNumbers = readonly [
  /** Below 0, also the owner: the source's own. */
  mode: number,
  uid: number,
  gid: number,
  seconds: number,
  nanoseconds: number,
  /** 1: the source's own, whatever the two before say. */
  keepsTime: number,
]

/** `dirFd` for paths relative to the working directory. */
export const atCwd = -100

/** How openat2 may walk. */
export const resolve = {
  none: 0,
  noCrossingMounts: 0x01,
  noMagicLinks: 0x02,
  noSymlinks: 0x04,
  beneath: 0x08,
  inRoot: 0x10,
} as const

/** open(2) flags that `node:fs` does not name, as on every Linux we build for but alpha and sparc. */
export const openFlags = {
  path: 0o10000000,
  closeOnExec: 0o2000000,
} as const

let loaded: Syscalls | undefined

/** The addon; throws `unsupported` when it was not built for this machine. */
export function syscalls(): Syscalls {
  loaded ??= load()
  return loaded
}

function load(): Syscalls {
  const path = nativePath('syscalls.node')
  try {
    // As `require` does it, which looks for the package of a file first.
    const addon = { exports: {} }
    process.dlopen(addon, path)
    return addon.exports as Syscalls
  } catch (cause) {
    throw new OciError('unsupported', `Cannot load the native addon "${path}"`, {
      cause,
      hint: nativeHint(),
    })
  }
}
