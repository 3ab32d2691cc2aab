/**
 * TarReader: chunks in, calls to a visitor out, all synchronous: a layer is read in one pipeline
 * without a queue between its stages.
 *
 *        ┌────────────── next entry ◄──────────── padding
 *        ▼                                            ▲
 *   header block ──x g L K──► extension ──► header    │
 *        ├──S──► sparse map blocks ──► content ───────┤
 *        ├──PAX 1.0──► map in content ──► content ────┤
 *        ├──file──► content ──────────────────────────┘
 *        └──two zero blocks──► ended (the rest is swallowed)
 *
 * Memory is bounded: an extension by `extendedHeader`, content is passed on as it comes.
 */
import { OciError, printable } from '../../oci/errors.ts'
import { blockSize, defaultBudgets, paddingOf, type TarBudgets, type TarEntry } from './entry.ts'
import { readField } from './fields.ts'
import { decodeHeader, type Header, isZeroBlock } from './header.ts'
import { type PaxRecord, parsePax } from './pax.ts'
import { type Extensions, type ResolvedEntry, resolveEntry } from './resolve-entry.ts'
import {
  ContentMap,
  checkedRegions,
  extensionContinues,
  extensionRegions,
  hasExtension,
  headerRegions,
  type Region,
} from './sparse.ts'

export interface TarVisitor {
  onEntry(entry: TarEntry): void
  /** Content that belongs at `offset`; valid during the call only. Holes of sparse files are left out. */
  onData(chunk: Buffer, offset: number): void
  /** The content of the last entry is complete. */
  onEnd(): void
  /** Deals with whole plain files, where the archive goes on with such, on its own. */
  takeFiles?(archive: Buffer): TakenFiles
}

export interface TakenFiles {
  readonly files: number
  /** Bytes of their contents. */
  readonly content: number
  /** Bytes of the archive that they take, up to the next header. */
  readonly size: number
}

type State =
  | { kind: 'collect'; length: number; accept: (bytes: Buffer) => void }
  | {
      kind: 'content'
      readonly regions: readonly Region[]
      index: number
      done: number
      padding: number
    }
  | { kind: 'skip'; remaining: number; readonly of: 'padding' | 'content' }
  | { kind: 'ended' }

/** Extensions that no reader passes on: a volume's name, Solaris access lists. */
const ignoredFlags = new Set(['V', 'A'])

export class TarReader {
  readonly #visitor: TarVisitor
  readonly #budgets: TarBudgets
  readonly #nextHeader: State = {
    kind: 'collect',
    length: blockSize,
    accept: block => this.#onHeader(block),
  }
  #state: State = this.#nextHeader
  #collected: Buffer[] = []
  #collectedLength = 0
  #extensions: { -readonly [K in keyof Extensions]: Extensions[K] } = {}
  #sawZeroBlock = false
  #entries = 0
  #content = 0

  constructor(visitor: TarVisitor, budgets: TarBudgets = defaultBudgets) {
    this.#visitor = visitor
    this.#budgets = budgets
  }

  /** Throws `invalid`, `unsupported`, `too-large`, or what the visitor throws; then it is over. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    for (let at = 0; at < bytes.length; ) at += this.#takeFiles(bytes, at) || this.#step(bytes, at)
  }

  /** The archive is complete. Throws `invalid` when it stops inside an entry. */
  end(): void {
    const state = this.#state
    // Missing end blocks and a last entry without padding are common; half an entry is truncation.
    const isAtHeader =
      state.kind === 'collect' && this.#collectedLength === 0 && !this.#isExtended()
    const isInPadding = state.kind === 'skip' && state.of === 'padding'
    if (state.kind !== 'ended' && !isAtHeader && !isInPadding && !this.#hasOnlyZeros()) {
      throw new OciError('invalid', 'Cannot read tar: it ends inside an entry')
    }
  }

  #hasOnlyZeros(): boolean {
    return (
      this.#state.kind === 'collect' &&
      !this.#isExtended() &&
      this.#collected.every(part => part.every(byte => byte === 0))
    )
  }

  #isExtended(): boolean {
    return Object.keys(this.#extensions).length > 0
  }

  /** What the visitor took of `bytes` from `at` on. */
  #takeFiles(bytes: Buffer, at: number): number {
    if (this.#state !== this.#nextHeader || this.#collectedLength > 0) return 0
    if (this.#visitor.takeFiles === undefined || this.#sawZeroBlock || this.#isExtended()) return 0
    const left = bytes.length - at
    // The one that is too much is to be told by its name.
    if (this.#entries + left / blockSize > this.#budgets.entries) return 0
    if (this.#content + left > this.#budgets.content) return 0
    const { files, content, size } = this.#visitor.takeFiles(bytes.subarray(at))
    this.#entries += files
    this.#content += content
    return size
  }

  /** Consumes some of `bytes` from `at` on and says how many. */
  #step(bytes: Buffer, at: number): number {
    const state = this.#state
    switch (state.kind) {
      case 'collect':
        return this.#collect(state, bytes, at)
      case 'content':
        return this.#pass(state, bytes, at)
      case 'skip':
        return this.#skip(state, bytes.length - at)
      default:
        return bytes.length - at
    }
  }

  #collect(state: State & { kind: 'collect' }, bytes: Buffer, at: number): number {
    const wanted = state.length - this.#collectedLength
    const last = bytes.subarray(at, at + wanted)
    if (last.length < wanted) {
      this.#collected.push(Buffer.from(last))
      this.#collectedLength += last.length
      return last.length
    }
    const whole = this.#collectedLength === 0 ? last : this.#takeCollected(last)
    state.accept(whole)
    return wanted
  }

  #takeCollected(last: Buffer): Buffer {
    const whole = Buffer.concat([...this.#collected, last])
    this.#collected = []
    this.#collectedLength = 0
    return whole
  }

  #pass(state: State & { kind: 'content' }, bytes: Buffer, at: number): number {
    const region = state.regions[state.index]
    if (region === undefined) throw new Error('Content without a region')
    const length = Math.min(bytes.length - at, region.length - state.done)
    this.#visitor.onData(bytes.subarray(at, at + length), region.offset + state.done)
    state.done += length
    if (state.done === region.length) {
      state.index += 1
      state.done = 0
      if (state.index === state.regions.length) this.#finishEntry(state.padding)
    }
    return length
  }

  #finishEntry(padding: number): void {
    this.#state = this.#skipping(padding, 'padding')
    this.#visitor.onEnd()
  }

  #skip(state: State & { kind: 'skip' }, available: number): number {
    const length = Math.min(available, state.remaining)
    state.remaining -= length
    if (state.remaining === 0) this.#state = this.#nextHeader
    return length
  }

  #skipping(remaining: number, of: 'padding' | 'content'): State {
    return remaining === 0 ? this.#nextHeader : { kind: 'skip', remaining, of }
  }

  #onHeader(block: Buffer): void {
    if (isZeroBlock(block)) {
      this.#onZeroBlock()
      return
    }
    // One zero block alone: some readers stop there, some go on. Neither is right for all.
    if (this.#sawZeroBlock) throw new OciError('invalid', 'Cannot read tar: a lone zero block')
    const header = decodeHeader(block)
    if (ignoredFlags.has(header.flag)) {
      this.#state = this.#skipping(header.size + paddingOf(header.size), 'content')
      return
    }
    if (this.#onExtension(header)) return
    if (header.flag === 'S') this.#onGnuSparse(header, block)
    else this.#onEntry(resolveEntry(header, this.#extensions))
  }

  #onZeroBlock(): void {
    if (this.#isExtended()) {
      throw new OciError('invalid', 'Cannot read tar: an extended header describes no entry')
    }
    this.#state = this.#sawZeroBlock ? { kind: 'ended' } : this.#nextHeader
    this.#sawZeroBlock = true
  }

  #onExtension(header: Header): boolean {
    switch (header.flag) {
      case 'x':
      case 'X':
        this.#collectExtension(header, bytes => {
          if (this.#extensions.pax !== undefined) {
            throw new OciError('invalid', 'Cannot read tar entry: it has two PAX headers')
          }
          this.#extensions.pax = parsePax(bytes)
        })
        return true
      case 'g':
        this.#collectExtension(header, bytes => assertHarmlessGlobals(parsePax(bytes)))
        return true
      case 'L':
        this.#collectExtension(header, bytes => {
          this.#extensions.longPath = untilNul(bytes)
        })
        return true
      case 'K':
        this.#collectExtension(header, bytes => {
          this.#extensions.longLink = untilNul(bytes)
        })
        return true
      default:
        return false
    }
  }

  #collectExtension({ size }: Header, accept: (bytes: Buffer) => void): void {
    this.#assertExtension(size)
    const collected = (bytes: Buffer): void => {
      // A copy: records and names are slices that outlive the chunk.
      accept(Buffer.from(bytes.subarray(0, size)))
      this.#state = this.#nextHeader
    }
    const length = size + paddingOf(size)
    if (length === 0) collected(Buffer.alloc(0))
    else this.#state = { kind: 'collect', length, accept: collected }
  }

  #assertExtension(size: number): void {
    if (size <= this.#budgets.extendedHeader) return
    throw new OciError(
      'too-large',
      `Cannot read tar: an extended header has ${size} bytes, more than ${this.#budgets.extendedHeader}`,
    )
  }

  #onGnuSparse(header: Header, block: Buffer): void {
    const realSize = readField(block, 'gnuRealSize')
    const regions = headerRegions(block)
    const finish = (): void => {
      this.#extensions.gnuSparse = { regions, realSize }
      this.#onEntry(resolveEntry(header, this.#extensions))
    }
    const more = (extension: Buffer): void => {
      regions.push(...extensionRegions(extension))
      this.#assertExtension(regions.length * 24)
      if (extensionContinues(extension))
        this.#state = { kind: 'collect', length: blockSize, accept: more }
      else finish()
    }
    if (hasExtension(block)) this.#state = { kind: 'collect', length: blockSize, accept: more }
    else finish()
  }

  #onEntry({ entry, stored, regions }: ResolvedEntry): void {
    this.#extensions = {}
    this.#spend(entry)
    if (regions === 'in-content') {
      this.#onContentMap(entry, stored)
      return
    }
    this.#visitor.onEntry(entry)
    this.#startContent(regions, stored)
  }

  #startContent(regions: readonly Region[], stored: number): void {
    if (regions.length > 0) {
      this.#state = { kind: 'content', regions, index: 0, done: 0, padding: paddingOf(stored) }
      return
    }
    // Regions hold exactly the bytes stored; only a dump directory has content that nobody wants.
    this.#state = this.#skipping(stored + paddingOf(stored), 'content')
    this.#visitor.onEnd()
  }

  /** PAX sparse 1.0: collects blocks of the map until it is whole. */
  #onContentMap(entry: TarEntry, stored: number): void {
    const map = new ContentMap()
    const more = (block: Buffer): void => {
      const regions = map.add(block)
      this.#assertExtension(map.length)
      const rest = stored - map.length
      if (regions === undefined) {
        this.#state = this.#mapBlock(rest, more)
        return
      }
      const checked = checkedRegions(regions, { realSize: entry.size, stored: rest })
      this.#visitor.onEntry(entry)
      this.#startContent(checked, rest)
    }
    this.#state = this.#mapBlock(stored, more)
  }

  #mapBlock(remaining: number, accept: (block: Buffer) => void): State {
    if (remaining < blockSize) {
      throw new OciError('invalid', 'Cannot read tar sparse map: it fills the whole content')
    }
    return { kind: 'collect', length: blockSize, accept }
  }

  #spend(entry: TarEntry): void {
    this.#entries += 1
    this.#content += entry.size
    if (this.#entries > this.#budgets.entries) {
      throw new OciError('too-large', `Cannot read tar: more than ${this.#budgets.entries} entries`)
    }
    if (this.#content > this.#budgets.content) {
      const path = printable(entry.path.toString())
      throw new OciError(
        'too-large',
        `Cannot read tar entry "${path}": contents exceed ${this.#budgets.content} bytes`,
      )
    }
  }
}

/** Global records do not apply to entries (no engine applies them), so they must not matter. */
function assertHarmlessGlobals(records: readonly PaxRecord[]): void {
  const harmful = records.find(
    ({ keyword }) =>
      keyword === 'path' ||
      keyword === 'linkpath' ||
      keyword === 'size' ||
      keyword.startsWith('GNU.sparse.'),
  )
  if (harmful === undefined) return
  throw new OciError(
    'invalid',
    `Cannot read tar global header: "${printable(harmful.keyword)}" for all entries`,
  )
}

function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}
