/** `options` of a bundle's mount, as mount(8) spells them, in the kernel's numbers. Pure. */
import { OciError, printable } from '../../oci/errors.ts'

export interface MountOptions {
  readonly isBind: boolean
  readonly isRecursive: boolean
  /** MOUNT_ATTR_*. */
  readonly set: number
  readonly clear: number
  /** Of the mounts below, too. */
  readonly setBelow: number
  readonly clearBelow: number
  /** MS_PRIVATE and its like. */
  readonly propagation: number
  /** The target gets a copy of what the root has there. */
  readonly copiesUp: boolean
  /** Its files show other owners: those of the mount alone, or of all below it. */
  readonly mapsIds?: 'alone' | 'below'
  /** Nothing is mounted: what is there gets these attributes. */
  readonly isRemount: boolean
  /** For the filesystem itself: `size=64m`. */
  readonly data: readonly string[]
}

const readOnly = 0x1
const accessTimes = 0x70

/** Options that set or clear attributes of a mount. */
const attributes: Readonly<Record<string, readonly ['set' | 'clear' | 'time', number]>> = {
  ro: ['set', readOnly],
  rw: ['clear', readOnly],
  nosuid: ['set', 0x2],
  suid: ['clear', 0x2],
  nodev: ['set', 0x4],
  dev: ['clear', 0x4],
  noexec: ['set', 0x8],
  exec: ['clear', 0x8],
  relatime: ['time', 0],
  norelatime: ['clear', 0],
  noatime: ['time', 0x10],
  atime: ['time', 0],
  strictatime: ['time', 0x20],
  nostrictatime: ['clear', 0],
  nodiratime: ['set', 0x80],
  diratime: ['clear', 0x80],
  nosymfollow: ['set', 0x20_0000],
  symfollow: ['clear', 0x20_0000],
}

const privately = 1 << 18
const propagations: ReadonlyMap<string, number> = new Map(
  Object.entries({ private: privately, slave: 1 << 19, shared: 1 << 20, unbindable: 1 << 17 }),
)

/** Of a filesystem, which a bind has already: nothing to do. */
const ofFilesystems = new Set([
  'sync',
  'async',
  'dirsync',
  'lazytime',
  'nolazytime',
  'mand',
  'nomand',
  'silent',
  'loud',
])

/**
 * The kernel has no words for the defaults. Whether a filesystem counts the versions of its files is
 * its own choice, and no option since fsopen(2).
 */
const meaningless = new Set([
  ...['async', 'nomand', 'loud', 'nolazytime', 'defaults', 'silent'],
  ...['iversion', 'noiversion'],
])

/** Words that say how it is mounted. */
const ways: ReadonlyMap<string, Partial<MountOptions>> = new Map<string, Partial<MountOptions>>([
  ['bind', { isBind: true }],
  ['rbind', { isBind: true, isRecursive: true }],
  ['idmap', { mapsIds: 'alone' }],
  ['ridmap', { mapsIds: 'below' }],
  ['remount', { isRemount: true }],
  ['tmpcopyup', { copiesUp: true }],
])

/** Throws `unsupported` for options that we do not have; `where` is the field's path. */
export function parseMountOptions(options: readonly string[], where: string): MountOptions {
  const change = { set: 0, clear: 0, setBelow: 0, clearBelow: 0 }
  let way: Partial<MountOptions> = {}
  let propagation = privately
  const data: string[] = []
  for (const option of options) {
    if (applyAttribute(change, option)) continue
    if (/^[xX]-/.test(option)) throw unsupported(option, where)
    const spread = propagations.get(option.replace(/^r/, ''))
    if (spread !== undefined) propagation = spread
    else if (ways.has(option)) way = { ...way, ...ways.get(option) }
    else if (!meaningless.has(option)) data.push(option)
  }
  return {
    ...{ isBind: false, isRecursive: false, copiesUp: false, isRemount: false },
    ...way,
    ...change,
    propagation,
    data,
  }
}

/** Whether it is one: plain, or with `r` for the mounts below, too. */
function applyAttribute(change: Change, option: string): boolean {
  if (Object.hasOwn(attributes, option)) {
    apply(change, attributes[option], '')
    return true
  }
  const below = option.slice(1)
  if (!option.startsWith('r') || !Object.hasOwn(attributes, below)) return false
  apply(change, attributes[below], 'Below')
  return true
}

export function mountOptionNames(): string[] {
  const plain = [...Object.keys(attributes), ...propagations.keys()]
  const own = [...ways.keys(), ...ofFilesystems, ...meaningless]
  return [...new Set([...plain, ...plain.map(name => `r${name}`), ...own])].sort()
}

/** What a bind cannot be told. */
export function unusedByBinds(data: readonly string[]): string[] {
  return data.filter(option => !ofFilesystems.has(option) && option !== '')
}

type Change = Record<'set' | 'clear' | 'setBelow' | 'clearBelow', number>

function apply(
  change: Change,
  attribute: (typeof attributes)[string] | undefined,
  suffix: '' | 'Below',
): void {
  if (attribute === undefined) return
  const [kind, bits] = attribute
  const [set, clear] = [`set${suffix}`, `clear${suffix}`] as const
  if (kind === 'clear') {
    change[clear] |= bits
    change[set] &= ~bits
    return
  }
  // Times of access are one choice of several: the others are taken away.
  if (kind === 'time') change[set] &= ~accessTimes
  change[clear] = kind === 'time' ? change[clear] | accessTimes : change[clear] & ~bits
  change[set] |= bits
}

function unsupported(option: string, where: string): OciError {
  return new OciError(
    'unsupported',
    `Cannot run the bundle: ${where}: mount option "${printable(option)}" is not supported`,
  )
}
