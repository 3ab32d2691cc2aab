/**
 * Volumes: directories that containers share and that outlive them.
 *
 *   volumes/<name>/_data         what containers see
 *                 /volume.json   when it was made, its labels, whether somebody named it
 *                 /filling       while it gets what the image has there; begun again after a kill
 *
 * 1. A volume appears whole or not at all, and is in use exactly while a container's record names it.
 *    Who makes a record or removes a volume has the lock of all of them meanwhile.
 * 2. An empty volume gets the content, owner and mode of the image's directory, once (docker's rule).
 * 3. What nobody named, of a container that goes at its end, lies in the container's own directory and
 *    goes with it, whoever removes that.
 */
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import type { RunConfig } from '../../oci/image-config.ts'
import { asString, asStringMap, member, optional, parseJson } from '../../oci/json.ts'
import { makeDirectory, namesIn, writeFileAtomic } from '../content/atomic-file.ts'
import { acquireLock, withLock } from '../content/file-lock.ts'
import { readOwnBytes } from '../content/own-files.ts'
import { copyTree } from '../layer/copy.ts'
import { isDirectory } from '../layer/file-type.ts'
import { openRoot, type Root } from '../layer/rootfs.ts'
import { atCwd, syscalls } from '../native/syscalls.ts'
import type { SandboxMount } from '../sandbox/spec.ts'
import type { Store } from '../store.ts'
import { listContainers } from './container-list.ts'
import type { ContainerRecord } from './container-record.ts'
import type { UsedVolume, VolumeWish } from './volume-use.ts'

export interface Volume {
  readonly name: string
  /** Absolute path of what containers see. */
  readonly path: string
  readonly createdAt: string
  readonly labels: Readonly<Record<string, string>>
  /** A container's own. */
  readonly isAnonymous: boolean
}

/** The user's, and one for each VOLUME of the image at whose place the user has put nothing. */
export function usedVolumes(
  { Volumes = {} }: RunConfig,
  wishes: readonly VolumeWish[],
  taken: readonly string[],
): UsedVolume[] {
  const places = new Set([...taken, ...wishes.map(({ target }) => target)].map(plainTarget))
  const ofImage = Object.keys(Volumes ?? {})
    .filter(target => target.startsWith('/') && target !== '/' && !places.has(plainTarget(target)))
    .map(target => ({ target, readOnly: false, copies: true }))
  return [...wishes, ...ofImage].map((wish: VolumeWish) => ({
    ...wish,
    name: wish.name ?? randomBytes(32).toString('hex'),
    isAnonymous: wish.name === undefined,
  }))
}

/** The same place whether or not there is a slash at its end. */
export function plainTarget(path: string): string {
  return path.replace(/(.)\/+$/, '$1')
}

const directoryOf = (store: Store, name: string): string => join(store.root, 'volumes', name)

/** Throws `invalid` for a name that is none; docker has the same rule. */
export function assertVolumeName(name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{1,254}$/.test(name)) return
  throw new OciError(
    'invalid',
    `Cannot use volume name "${printable(name)}": expected 2 to 255 letters, digits, "_", "." and "-", of which the first is a letter or a digit`,
  )
}

/** Nobody makes a record that names volumes, and nobody removes one, while `work` runs. */
export function withVolumes<T>(store: Store, work: () => Promise<T>): Promise<T> {
  return withLock(join(store.locks, 'volumes'), 'exclusive', work)
}

/** The volume of that name, made when there is none. To be called within {@link withVolumes}. */
export async function ensureVolume(
  store: Store,
  { name, labels = {}, isAnonymous = false }: Pick<Volume, 'name'> & Partial<Volume>,
): Promise<Volume> {
  const found = await readVolume(store, name)
  if (found !== undefined) return found
  await using place = await store.tempDir()
  const fresh = join(place.path, 'volume')
  const createdAt = new Date().toISOString()
  mkdirSync(join(fresh, '_data'), { recursive: true, mode: 0o755 })
  // Whatever our umask is: it is the root of what all users of a container see.
  syscalls().fchmodat(atCwd, join(fresh, '_data'), 0o755)
  await writeFileAtomic(
    join(fresh, 'volume.json'),
    JSON.stringify({ createdAt, labels, ...(isAnonymous ? { isAnonymous } : {}) }),
  )
  makeDirectory(join(store.root, 'volumes'), 0o700)
  renameSync(fresh, directoryOf(store, name))
  return { name, path: dataOf(directoryOf(store, name)), createdAt, labels, isAnonymous }
}

const dataOf = (directory: string): string => join(directory, '_data')

async function readVolume(store: Store, name: string): Promise<Volume | undefined> {
  const directory = directoryOf(store, name)
  const bytes = readOwnBytes(join(directory, 'volume.json'))
  if (bytes === undefined) return undefined
  return { name, path: dataOf(directory), ...factsIn(bytes, directory) }
}

/** A damaged record takes no data with it: the volume is one without labels, as old as it looks. */
function factsIn(
  bytes: Uint8Array,
  directory: string,
): Pick<Volume, 'createdAt' | 'labels' | 'isAnonymous'> {
  try {
    const node = parseJson('volume record', bytes)
    return {
      createdAt: asString(member(node, 'createdAt')),
      labels: optional(member(node, 'labels'), asStringMap) ?? {},
      isAnonymous: member(node, 'isAnonymous').value === true,
    }
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    const createdAt = statSync(directory).mtime.toISOString()
    return { createdAt, labels: {}, isAnonymous: false }
  }
}

/** By name. Those in directories of containers are not listed: they are parts of these. */
export async function listVolumes(store: Store): Promise<Volume[]> {
  const names = (await namesIn(join(store.root, 'volumes'))).sort()
  const volumes = await Promise.all(names.map(name => readVolume(store, name)))
  return volumes.filter(volume => volume !== undefined)
}

/** Throws `not-found`. */
export async function findVolume(store: Store, name: string): Promise<Volume> {
  const found = /[/\0]/.test(name) ? undefined : await readVolume(store, name)
  if (found !== undefined) return found
  throw new OciError('not-found', `Cannot find volume "${printable(name)}": no such volume`)
}

/** By volume: the ids of the containers that use it, running or not. */
export async function volumeUsers(store: Store): Promise<Map<string, string[]>> {
  const users = new Map<string, string[]>()
  for (const { id, record } of await listContainers(store.containers)) {
    for (const { name } of record?.volumes ?? []) {
      users.set(name, [...(users.get(name) ?? []), id])
    }
  }
  return users
}

/** Throws `not-found`, and `conflict`, naming the containers, while one uses it. */
export async function removeVolume(store: Store, name: string): Promise<void> {
  await withVolumes(store, async () => {
    const { path } = await findVolume(store, name)
    const users = (await volumeUsers(store)).get(name) ?? []
    if (users.length > 0) {
      throw new OciError(
        'conflict',
        `Cannot remove volume "${name}": it is in use by ${users.map(id => id.slice(0, 12)).join(', ')}`,
        { hint: 'Remove these containers first' },
      )
    }
    await store.trash.discard(join(path, '..'))
  })
}

/** Removes those that no container uses and that `isWanted`: their names. */
export async function pruneVolumes(
  store: Store,
  isWanted: (volume: Volume) => boolean,
): Promise<string[]> {
  const users = await volumeUsers(store)
  const unused = (await listVolumes(store)).filter(({ name }) => !users.has(name))
  const removed: string[] = []
  for (const { name } of unused.filter(isWanted)) {
    if (await removeIfUnused(store, name)) removed.push(name)
  }
  return removed
}

/** Not one that is gone, or in use, since somebody looked. */
async function removeIfUnused(store: Store, name: string): Promise<boolean> {
  try {
    await removeVolume(store, name)
    return true
  } catch (error) {
    if (hasCode(error, 'not-found') || hasCode(error, 'conflict')) return false
    throw error
  }
}

/** Those of a container that nobody named, once it is gone; not one that others use by its name. */
export async function removeOwnVolumes(
  store: Store,
  record: Pick<ContainerRecord, 'volumes'> | undefined,
): Promise<void> {
  for (const { name, isAnonymous } of record?.volumes ?? []) {
    if (isAnonymous) await removeIfUnused(store, name)
  }
}

interface Owner {
  readonly path: string
  readonly record: ContainerRecord
}

/** Where a container's volume is (3). */
function placeOf(store: Store, { path, record }: Owner, volume: UsedVolume): string {
  const isOwn = volume.isAnonymous && record.lifetime === 'removed-at-end'
  return isOwn ? join(path, 'volumes', volume.name) : directoryOf(store, volume.name)
}

/** Of a container about to be made: those that outlive it. Within {@link withVolumes}. */
export async function ensureUsed(
  store: Store,
  { volumes = [], lifetime }: Pick<ContainerRecord, 'volumes' | 'lifetime'>,
): Promise<void> {
  for (const { name, isAnonymous } of volumes) {
    if (isAnonymous && lifetime === 'removed-at-end') continue
    await ensureVolume(store, { name, isAnonymous })
  }
}

/** A container's volumes as mounts, each with what the image has there when it was empty. */
export async function volumeMounts(
  store: Store,
  owner: Owner,
  root: Root,
): Promise<SandboxMount[]> {
  const mounts: SandboxMount[] = []
  for (const volume of owner.record.volumes ?? []) {
    const directory = placeOf(store, owner, volume)
    const { name, target, readOnly, copies } = volume
    mkdirSync(dataOf(directory), { recursive: true })
    if (copies) {
      using _alone = await acquireLock(join(store.locks, `volume-${name}`), 'exclusive')
      fillVolume(directory, { root, target })
    }
    mounts.push({ kind: 'bind', source: dataOf(directory), target, readOnly, recursive: true })
  }
  return mounts
}

/** Nothing where the image has no directory. */
function fillVolume(
  directory: string,
  { root, target }: { readonly root: Root; readonly target: string },
): void {
  const [marker, data] = [join(directory, 'filling'), dataOf(directory)]
  if (!existsSync(marker) && readdirSync(data).length > 0) return
  const stat = root.find(target, 'follow')
  if (stat === undefined || !isDirectory(stat)) return
  writeFileSync(marker, '')
  using to = openRoot({ kind: 'directory', path: data, readOnly: false })
  copyTree({ root, path: target }, { root: to, path: '/' })
  syscalls().fchownat(atCwd, data, [stat.uid, stat.gid])
  syscalls().fchmodat(atCwd, data, stat.mode & 0o7777)
  rmSync(marker)
}
