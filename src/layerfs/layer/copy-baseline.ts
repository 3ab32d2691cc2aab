/**
 * What a copied tree was like before anybody wrote to it: when its last file was copied, and which
 * directories it had. A file whose inode has not changed since then, in the directory that it was
 * copied into, is as it was: no content has to be read to know.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { type FileStat, syscalls, type Timestamp } from '../native/syscalls.ts'
import { openAs } from './file-type.ts'
import { joinPath, rootPath, type SafePath } from './path-bytes.ts'
import { openListing } from './remove-tree.ts'

const directoryType = 4

export interface Baseline {
  hasDirectory(path: SafePath, stat: FileStat): boolean
  /** Of anything but a directory. */
  isUntouched(stat: FileStat): boolean
}

function fileOf(layer: string): string {
  return `${layer}.since`
}

/** Waits until the file system's clock has moved on: what changes from now on shows it. */
export function writeBaseline(layer: string, tree: string): void {
  const directories: Record<string, string> = {}
  const fd = openSync(tree, openAs.directory)
  try {
    collect(fd, directories)
  } finally {
    closeSync(fd)
  }
  const path = fileOf(layer)
  const text = JSON.stringify(directories)
  writeFileSync(path, text, { mode: 0o600 })
  for (const copied = changeTime(path); changeTime(path) <= copied; ) writeFileSync(path, text)
}

function changeTime(path: string): bigint {
  return statSync(path, { bigint: true }).ctimeNs
}

interface Frame {
  readonly listing: number
  readonly path: SafePath
  /** Of directories in it. */
  readonly names: string[]
}

/** No deeper in calls than the tree is deep in directories. */
function collect(fd: number, into: Record<string, string>): void {
  const frames = [frameOf(openListing(fd, '.'), rootPath, into)]
  try {
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const name = frame.names.pop()
      if (name === undefined) {
        closeSync(frame.listing)
        frames.pop()
        continue
      }
      const inner = openListing(frame.listing, name)
      frames.push(frameOf(inner, joinPath(frame.path, name), into))
    }
  } finally {
    for (const { listing } of frames) closeSync(listing)
  }
}

function frameOf(listing: number, path: SafePath, into: Record<string, string>): Frame {
  into[path] = String(syscalls().statx(listing, '').ino)
  const directories = syscalls()
    .readdir(listing)
    .filter(({ type }) => type === directoryType)
  return { listing, path, names: directories.map(({ name }) => name.toString('latin1')) }
}

export function readBaseline(layer: string): Baseline | undefined {
  const path = fileOf(layer)
  if (!existsSync(path)) return undefined
  const directories: Readonly<Record<string, string>> = JSON.parse(readFileSync(path, 'latin1'))
  const since = changeTime(path)
  return {
    hasDirectory: (name, { ino }) => directories[name] === String(ino),
    isUntouched: ({ ctime }) => nanoseconds(ctime) < since,
  }
}

function nanoseconds({ seconds, nanoseconds }: Timestamp): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
}
