/**
 * `tsrun cp`: files between a container and this machine. Both sides are roots: a path of the
 * container is resolved inside it by the kernel, whatever its processes change meanwhile
 * (CVE-2018-15664), and nothing of it is run or loaded (CVE-2019-14271).
 */
import { closeSync, openSync } from 'node:fs'
import { posix } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { copyTree } from '../layer/copy.ts'
import type { CopyOptions } from '../layer/copy-options.ts'
import { fileType, isDirectory, typeMask } from '../layer/file-type.ts'
import { openRoot, type Root } from '../layer/rootfs.ts'
import type { FileStat } from '../native/syscalls.ts'
import type { Store } from '../store.ts'
import type { Container } from './container-list.ts'
import { firstProcess } from './container-processes.ts'

export interface CopySide {
  readonly root: Root
  /** From its root. A `/` at the end wants a directory, `/.` what is in it. */
  readonly path: string
}

export interface CopyWishes {
  /** A link at the end of the source's path is followed. */
  readonly followsLink: boolean
  /** Owners stay; else the files are root's. */
  readonly keepsOwners: boolean
}

/**
 * The files of a container, writable: as its processes see them while it runs, and else as the next
 * would. The caller disposes. Throws `conflict` when it starts or ends meanwhile.
 */
export async function openContainerRoot(store: Store, container: Container): Promise<Root> {
  if (!container.isRunning) {
    const held = await store.containers.hold(container.id)
    const root = openRoot(held.mount)
    const close = () => {
      root[Symbol.dispose]()
      held[Symbol.dispose]()
    }
    return { ...root, [Symbol.dispose]: close, [Symbol.asyncDispose]: async () => close() }
  }
  const pid = firstProcess(container, 'copy files of')
  // The directory of a process stays that one's: asked again, it is the one that was meant.
  const place = openSync(`/proc/${pid}`, 'r')
  try {
    firstProcess(container, 'copy files of')
    return openRoot({ kind: 'directory', path: `/proc/self/fd/${place}/root`, readOnly: false })
  } finally {
    closeSync(place)
  }
}

/**
 * As cp(1): into a directory that is there, or to the name itself. Throws `not-found` for a source
 * or a directory that is missing, `invalid` where a file and a directory would replace each other.
 */
export function copyFiles(from: CopySide, to: CopySide, wishes: CopyWishes): void {
  const link = wishes.followsLink || from.path.endsWith('/') ? 'follow' : 'keep'
  const source = from.root.find(from.path, link)
  if (source === undefined) throw missing(from.path)
  if (isDevice(source)) {
    throw new OciError('invalid', `Cannot copy "${printable(from.path)}": it is a device`)
  }
  const path = targetPath({ ...from, stat: source }, to)
  const options: CopyOptions = {
    sourceLink: link,
    impliedMode: isDirectory(source) ? source.mode & 0o7777 : 0o755,
    omit: isDevice,
    ...(wishes.keepsOwners ? {} : { owner: { uid: 0, gid: 0 } }),
  }
  copyTree(from, { root: to.root, path }, options)
}

function targetPath(from: CopySide & { readonly stat: FileStat }, to: CopySide): string {
  const isTree = isDirectory(from.stat)
  const target = to.root.find(to.path, 'follow')
  if (target === undefined) {
    if (!isTree && to.path.endsWith('/')) throw missing(to.path)
    const parent = posix.dirname(to.path)
    if (!to.root.exists(parent)) throw missing(parent)
    return to.path
  }
  if (isDirectory(target)) {
    const wantsContents = isTree && /(^|\/)\.$|^\/+$/.test(from.path)
    return wantsContents ? to.path : posix.join(to.path, posix.basename(from.path))
  }
  if (!isTree && !to.path.endsWith('/')) return to.path
  throw new OciError('invalid', `Cannot copy to "${printable(to.path)}": it is no directory`)
}

function missing(path: string): OciError {
  return new OciError('not-found', `Cannot copy "${printable(path)}": not found`)
}

/** A node of a device of this machine is nothing to carry out of a container. */
function isDevice({ mode }: FileStat): boolean {
  const type = mode & typeMask
  return type === fileType.characterDevice || type === fileType.blockDevice
}
