/**
 * An overlay as a descriptor: mounted nowhere, gone with its descriptor, also after kill -9.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { systemReason } from '../../oci/system-error.ts'
import type { RootMount } from '../mount.ts'
import { openFlags, syscalls } from '../native/syscalls.ts'
import { copiedTree } from './copied-tree.ts'
import { overlayFormat } from './overlay-format.ts'
import { overlayUse } from './overlay-use.ts'

const fsconfig = { flag: 0, string: 1, create: 6 } as const
const readOnlyAttribute = 1

/**
 * A descriptor of the root directory of `mount`. The caller closes it. Throws `not-found` when a
 * directory is missing, `unavailable` when it cannot be opened; otherwise the kernel's error, with
 * what the kernel said about it.
 */
export function openMount(mount: RootMount): number {
  if (mount.kind === 'directory') return openDirectory(mount.path)
  if (!isOverlay(mount)) return openDirectory(onlyDirectoryOf(mount))
  if (overlayUse() === 'copy') return openDirectory(copiedTree(mount))
  return mountOverlay(mount)
}

/** The kernel wants two directories at least; one alone needs no overlay. */
export function isOverlay(mount: RootMount): mount is RootMount & { kind: 'overlay' } {
  return mount.kind === 'overlay' && mount.lower.length + (mount.upper === undefined ? 0 : 1) > 1
}

function onlyDirectoryOf({ lower: [lower], upper }: RootMount & { kind: 'overlay' }): string {
  const only = upper ?? lower
  if (only === undefined) throw new Error('A mount without a directory')
  return only
}

export interface OverlayOptions {
  /** MOUNT_ATTR_*; default: read-only without a writable layer. */
  readonly attributes?: number
  /** What mountinfo shows as the source. */
  readonly source?: string
}

function openDirectory(path: string): number {
  try {
    return openSync(path, openFlags.path | constants.O_DIRECTORY | openFlags.closeOnExec)
  } catch (cause) {
    const isMissing = hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR')
    const message = `Cannot open directory "${printable(path)}": ${systemReason(cause)}`
    throw new OciError(isMissing ? 'not-found' : 'unavailable', message, { cause })
  }
}

/** As {@link openMount}, always an overlay: it wants two directories at least. */
export function mountOverlay(
  mount: RootMount & { kind: 'overlay' },
  { attributes = mount.upper === undefined ? readOnlyAttribute : 0, source }: OverlayOptions = {},
): number {
  const calls = syscalls()
  const context = calls.fsopen('overlay')
  try {
    if (source !== undefined) calls.fsconfig(context, fsconfig.string, ['source', source])
    for (const [key, value] of overlaySettings(mount)) {
      calls.fsconfig(context, value === null ? fsconfig.flag : fsconfig.string, [key, value])
    }
    calls.fsconfig(context, fsconfig.create, [null, null])
    return calls.fsmount(context, attributes)
  } finally {
    closeSync(context)
  }
}

/**
 * Off is what keeps the upper directory plain: no `redirect`, no `metacopy`, so that a diff can
 * read it by itself. `volatile`: nobody mounts this upper again after a crash, so no sync.
 */
function* overlaySettings({
  lower,
  upper,
  work,
}: RootMount & { kind: 'overlay' }): Generator<[string, string | null]> {
  for (const directory of lower) yield ['lowerdir+', directory]
  // `userxattr` turns both of the others off by itself, and refuses to be told.
  const isUserFormat = overlayFormat().xattrPrefix === 'user.overlay.'
  if (isUserFormat) yield ['userxattr', null]
  else yield ['metacopy', 'off']
  if (upper === undefined || work === undefined) return
  yield ['upperdir', escaped(upper)]
  yield ['workdir', escaped(work)]
  if (!isUserFormat) yield ['redirect_dir', 'off']
  yield ['index', 'off']
  yield ['volatile', null]
}

/** Of these two alone the kernel takes a backslash for the start of an escape. */
function escaped(path: string): string {
  return path.replaceAll('\\', '\\\\')
}
