/** Layers from lists of entries, applied for real, and what the merged tree then shows. */
import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { applyLayer } from '../../../src/layerfs/layer/apply.ts'
import type { AppliedLayer } from '../../../src/layerfs/layer/apply-request.ts'
import { portableXattrs } from '../../../src/layerfs/layer/compare-files.ts'
import { fileType, typeMask } from '../../../src/layerfs/layer/file-type.ts'
import { openListing, removePath } from '../../../src/layerfs/layer/remove-tree.ts'
import { openRoot, type Root } from '../../../src/layerfs/layer/rootfs.ts'
import { openDirectoryAt } from '../../../src/layerfs/layer/walk-in-root.ts'
import { syscalls } from '../../../src/layerfs/native/syscalls.ts'
import type { EntryType, TarBudgets, TarEntry } from '../../../src/layerfs/tar/entry.ts'
import { contentPadding, encodeEntry, endOfArchive } from '../../../src/layerfs/tar/writer.ts'
import type { DiffId } from '../../../src/oci/digest.ts'
import { digestOf } from '../../../src/oci/digest.ts'

export interface EntryDraft {
  readonly path: string | Buffer
  readonly type?: EntryType
  readonly content?: string | Buffer
  readonly link?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly seconds?: number
  readonly nanoseconds?: number
  readonly device?: readonly [number, number]
  readonly xattrs?: Readonly<Record<string, string | Buffer>>
}

export const file = (
  path: string,
  content: string | Buffer = path,
  more: Partial<EntryDraft> = {},
): EntryDraft => ({
  path,
  content,
  ...more,
})
export const dir = (path: string, more: Partial<EntryDraft> = {}): EntryDraft => ({
  path: `${path}/`,
  type: 'directory',
  mode: 0o755,
  ...more,
})
export const symlink = (path: string, link: string): EntryDraft => ({ path, link, type: 'symlink' })
export const hardlink = (path: string, link: string): EntryDraft => ({
  path,
  link,
  type: 'hardlink',
})
export const whiteout = (path: string): EntryDraft => ({ path, content: '' })

export function entryOf(draft: EntryDraft): TarEntry {
  const type = draft.type ?? 'file'
  return {
    type,
    path: Buffer.from(draft.path),
    linkPath: Buffer.from(draft.link ?? ''),
    mode: draft.mode ?? 0o644,
    uid: draft.uid ?? 0,
    gid: draft.gid ?? 0,
    size: type === 'file' ? Buffer.byteLength(draft.content ?? '') : 0,
    mtime: { seconds: draft.seconds ?? 1_000_000_000, nanoseconds: draft.nanoseconds ?? 0 },
    devMajor: draft.device?.[0] ?? 0,
    devMinor: draft.device?.[1] ?? 0,
    xattrs: Object.entries(draft.xattrs ?? {}).map(([name, value]) => ({
      name: Buffer.from(name),
      value: Buffer.from(value),
    })),
  }
}

export function tarOf(drafts: readonly EntryDraft[]): Buffer {
  const parts: Buffer[] = []
  for (const draft of drafts) {
    const entry = entryOf(draft)
    parts.push(encodeEntry(entry))
    if (entry.size > 0) parts.push(Buffer.from(draft.content ?? ''), contentPadding(entry.size))
  }
  return Buffer.concat([...parts, endOfArchive()])
}

export interface Bench extends Disposable {
  readonly dir: string
  /** Applied layer directories, top first. */
  readonly layers: string[]
  apply(tar: Buffer | readonly EntryDraft[], more?: ApplyMore): Promise<AppliedLayer>
  view(): Root
}

export interface ApplyMore {
  readonly blob?: Buffer
  readonly budgets?: Partial<TarBudgets>
}

export function layerBench(): Bench {
  const base = mkdtempSync(join(tmpdir(), 'layer-test-'))
  const layers: string[] = []
  let count = 0
  return {
    dir: base,
    layers,
    async apply(source, more = {}) {
      const tar = Buffer.isBuffer(source) ? source : tarOf(source as readonly EntryDraft[])
      const bytes = more.blob ?? tar
      count += 1
      const target = join(base, `layer${count}`)
      mkdirSync(target)
      writeFileSync(join(base, 'blob'), bytes)
      const applied = await applyLayer({
        blob: join(base, 'blob'),
        target,
        lower: [...layers],
        expected: { digest: digestOf(bytes), size: bytes.length, diffId: diffIdOf(tar) },
        ...(more.budgets === undefined ? {} : { budgets: more.budgets }),
      })
      layers.unshift(target)
      return applied
    },
    view: () => openRoot({ kind: 'overlay', lower: layers }),
    // Node's rm cannot remove paths that are longer than 4095 bytes.
    [Symbol.dispose]: () => removePath(base),
  }
}

export function diffIdOf(tar: Buffer): DiffId {
  return `sha256:${createHash('sha256').update(tar).digest('hex')}` as DiffId
}

const typeNames = new Map<number, string>([
  [fileType.file, 'file'],
  [fileType.directory, 'dir'],
  [fileType.symlink, 'link'],
  [fileType.fifo, 'fifo'],
  [fileType.characterDevice, 'char'],
  [fileType.blockDevice, 'block'],
])

/** Every path below `root`, sorted, as one line: `etc/passwd file "content"`. */
export function listTree(root: Root, describe: Describe = shortly): string[] {
  return [...walk(root.fd, '', describe)].sort()
}

type Describe = (dirFd: number, name: string, path: string) => string

function* walk(dirFd: number, prefix: string, describe: Describe): Generator<string> {
  const listing = openListing(dirFd, '.')
  try {
    for (const entry of syscalls().readdir(listing)) {
      const name = entry.name.toString('latin1')
      const path = `${prefix}${name}`
      yield `${path} ${describe(listing, name, path)}`
      if (typeOf(listing, name) !== 'dir') continue
      const fd = openDirectoryAt(listing, name)
      yield* walk(fd, `${path}/`, describe)
      closeSync(fd)
    }
  } finally {
    closeSync(listing)
  }
}

function typeOf(dirFd: number, name: string): string {
  const { mode } = syscalls().statx(dirFd, Buffer.from(name, 'latin1'))
  return typeNames.get(mode & typeMask) ?? 'other'
}

export function shortly(dirFd: number, name: string): string {
  const type = typeOf(dirFd, name)
  const bytes = Buffer.from(name, 'latin1')
  if (type === 'link') return `-> ${syscalls().readlinkat(dirFd, bytes)}`
  if (type !== 'file') return type
  return JSON.stringify(contentAt(dirFd, name).toString())
}

export function contentAt(dirFd: number, name: string): Buffer {
  const bytes = Buffer.from(`/proc/self/fd/${dirFd}/${name}`, 'latin1')
  return readFileSync(bytes)
}

/** All that must survive a round trip, also owner, mode, time, attributes and links. */
export function fully(dirFd: number, name: string): string {
  const stat = syscalls().statx(dirFd, Buffer.from(name, 'latin1'))
  const xattrs = portableXattrs({ fd: dirFd, name }).map(
    x => `${x.name}=${x.value.toString('hex')}`,
  )
  const isDir = (stat.mode & typeMask) === fileType.directory
  const links = isDir ? '' : `links=${stat.links}`
  const device = `${stat.rdevMajor}:${stat.rdevMinor}`
  const time = `${stat.mtime.seconds}.${stat.mtime.nanoseconds}`
  return `${shortly(dirFd, name)} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${device} ${time} ${links} ${xattrs.join(',')}`
}
