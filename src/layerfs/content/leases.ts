/**
 * Leases: what a running process counts on, so that nobody removes it meanwhile.
 *
 *   leases/<random>      of one process, locked by it while it lives: a line for each thing held
 *   locks/collecting     shared while a line is written, exclusive while things are removed
 *
 * 1. Who looks for a thing holds it first, and looks then. Who makes one holds it before others can
 *    see it.
 * 2. Who removes things is alone from before it reads the leases until all that goes is out of
 *    sight. So a line was there before, and counts; or it comes after, and who wrote it looks then,
 *    and finds what is left.
 * 3. Who refers to a thing (names an image, remembers a step, builds a layer on another) holds it
 *    until the reference stands. So what neither a lease nor a reference names is nobody's, however
 *    new it is.
 * 4. A lease ends with its process, however that ends: it counts while its lock is held. Nothing is
 *    given back earlier, but by {@link Leases.letGo}: a build may need again what it needed once.
 *
 * The moment of writing a line takes microseconds, and so no time of grace is needed: what somebody
 * may need is known, and the rest goes at once.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Descriptor, descriptorFrom } from '../../oci/descriptor.ts'
import {
  type ChainId,
  type DiffId,
  type Digest,
  parseChainId,
  parseDiffId,
  parseDigest,
} from '../../oci/digest.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import { asString, type JsonNode, member, parseJson } from '../../oci/json.ts'
import { syscalls } from '../native/syscalls.ts'
import { ignoreMissing, makeDirectory, removeFile } from './atomic-file.ts'
import { acquireLock, type FileLock, tryAcquireLock, tryLock } from './file-lock.ts'
import { filesIn, readOwnText } from './own-files.ts'

/** `layer`: what is remembered of it. `image`: all that it consists of. */
export type Thing =
  | { readonly kind: 'blob'; readonly digest: Digest }
  | { readonly kind: 'snapshot'; readonly name: ChainId }
  | { readonly kind: 'layer'; readonly diffId: DiffId }
  | { readonly kind: 'image'; readonly target: Descriptor }

/**
 * Returns when the thing is held: whether it has been already, since somebody of ours looked for it
 * last. Nothing is held twice.
 */
export type Hold = (thing: Thing) => Promise<boolean>

/** What running processes count on, this one too; with a snapshot all that it builds on. */
export interface Held {
  readonly blobs: ReadonlySet<Digest>
  readonly snapshots: ReadonlySet<ChainId>
  readonly layers: ReadonlySet<DiffId>
  readonly images: readonly Descriptor[]
}

export interface Leases {
  readonly hold: Hold
  /** Counts on nothing any more that it held until now. Idempotent. */
  readonly letGo: () => void
  /**
   * Runs `remove` while nobody else removes anything or begins to hold something; it must not look
   * for things by ways that hold them. Throws `conflict` when another goes on removing.
   */
  readonly collect: <T>(remove: (held: Held) => Promise<T>) => Promise<T>
  /** Removes the leases of dead processes, unless somebody is writing one just now. */
  sweep(): Promise<void>
}

/** Of the store in `root`. `append`: how a line is written, that a test can make fail. */
export function openLeases(root: string, append: Append = writeSync): Leases {
  return new FileLeases(root, append)
}

/** As `writeSync`: how many bytes were written. */
type Append = (fd: number, line: string) => number

/** For others who remove things: thousands take about a second. */
const patienceMs = 2000

const exclusiveOrFail = 2 | 4

class FileLeases implements Leases {
  readonly #append: Append
  readonly #directory: string
  readonly #gate: string
  readonly #lines = new Set<string>()
  #lease: { readonly path: string; readonly fd: number } | undefined
  /** Where no lease can be written, the disk being full, we keep all others from removing. */
  #kept: FileLock | undefined

  constructor(root: string, append: Append) {
    this.#append = append
    this.#directory = join(root, 'leases')
    this.#gate = join(root, 'locks', 'collecting')
  }

  readonly hold = async (thing: Thing): Promise<boolean> => {
    const line = `${JSON.stringify(thing)}\n`
    if (this.#lines.has(line)) return true
    if (this.#kept !== undefined) return false
    const lock = await acquireLock(this.#gate, 'shared')
    try {
      this.#write(line)
      this.#lines.add(line)
    } catch (error) {
      if (!isDiskFull(error)) throw error
      this.#kept ??= lock
    } finally {
      if (this.#kept !== lock) lock[Symbol.dispose]()
    }
    return false
  }

  #write(line: string): void {
    this.#lease ??= this.#begin()
    // Less than asked for is no error to the kernel, but half a line holds nothing.
    if (this.#append(this.#lease.fd, line) === Buffer.byteLength(line)) return
    throw Object.assign(new Error('ENOSPC: a lease was cut short'), { code: 'ENOSPC' })
  }

  /** Nobody sweeps meanwhile: we hold the gate. */
  #begin(): { path: string; fd: number } {
    makeDirectory(this.#directory, 0o700)
    const path = join(this.#directory, randomBytes(16).toString('hex'))
    const { O_RDWR, O_CREAT, O_EXCL, O_APPEND } = constants
    const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0o600)
    syscalls().flock(fd, exclusiveOrFail)
    return { path, fd }
  }

  readonly letGo = (): void => {
    if (this.#lease !== undefined) {
      removeFile(this.#lease.path)
      closeSync(this.#lease.fd)
    }
    this.#lease = undefined
    this.#lines.clear()
    this.#kept?.[Symbol.dispose]()
    this.#kept = undefined
  }

  readonly collect = async <T>(remove: (held: Held) => Promise<T>): Promise<T> => {
    using _lock = await this.#alone()
    return await remove(await this.#readAll())
  }

  async #alone(): Promise<FileLock> {
    const signal = AbortSignal.timeout(this.#kept === undefined ? patienceMs : 0)
    try {
      return await acquireLock(this.#gate, { mode: 'exclusive', signal })
    } catch (cause) {
      if (!signal.aborted) throw cause
      throw new OciError('conflict', 'Cannot clean up the store: another process is doing so', {
        cause,
        hint: 'try again when it has ended',
      })
    }
  }

  /** And removes those of the dead. */
  async #readAll(): Promise<Held> {
    const all: Growing = { blobs: new Set(), snapshots: new Set(), layers: new Set(), images: [] }
    for (const path of await this.#living()) {
      // The last is empty, or was cut short when the disk was full: see #write.
      const lines = (readOwnText(path) ?? '').split('\n').slice(0, -1)
      for (const line of lines) add(parseThing(line), all)
    }
    return all
  }

  async #living(): Promise<string[]> {
    const paths = filesIn(this.#directory).map(name => join(this.#directory, name))
    return paths.filter(path => {
      try {
        using dead = tryLock(path, 'exclusive')
        if (dead === undefined) return true
        removeFile(path)
      } catch (error) {
        // Its process ended just now.
        ignoreMissing(error)
      }
      return false
    })
  }

  async sweep(): Promise<void> {
    if (filesIn(this.#directory).length === 0) return
    using alone = tryAcquireLock(this.#gate, 'exclusive')
    if (alone !== undefined) await this.#living()
  }
}

function isDiskFull(error: unknown): boolean {
  return hasCode(error, 'ENOSPC') || hasCode(error, 'EDQUOT')
}

interface Growing {
  readonly blobs: Set<Digest>
  readonly snapshots: Set<ChainId>
  readonly layers: Set<DiffId>
  readonly images: Descriptor[]
}

function add(thing: Thing, held: Growing): void {
  if (thing.kind === 'blob') held.blobs.add(thing.digest)
  else if (thing.kind === 'snapshot') held.snapshots.add(thing.name)
  else if (thing.kind === 'layer') held.layers.add(thing.diffId)
  else held.images.push(thing.target)
}

const parsers: Readonly<Record<Thing['kind'], (node: JsonNode) => Thing>> = {
  blob: node => ({ kind: 'blob', digest: parseDigest(asString(member(node, 'digest'))) }),
  snapshot: node => ({ kind: 'snapshot', name: parseChainId(asString(member(node, 'name'))) }),
  layer: node => ({ kind: 'layer', diffId: parseDiffId(asString(member(node, 'diffId'))) }),
  image: node => ({ kind: 'image', target: descriptorFrom(member(node, 'target')) }),
}

function parseThing(line: string): Thing {
  const node = parseJson('lease', Buffer.from(line))
  const kind = asString(member(node, 'kind')) as Thing['kind']
  return parsers[kind](node)
}
