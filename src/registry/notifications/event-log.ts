/**
 * Events that are still to be sent: a log in a folder, which every endpoint reads at its own pace.
 *
 *   <folder>/<number of its first event>.jsonl   a segment: one event a line
 *   <folder>/<endpoint>.cursor                   {next, segment, offset}: where it stands
 *
 * 1. What `append` has promised survives the end of this process; what it was asked to sync, that of
 *    the machine.
 * 2. A line that a crash cut is no event.
 * 3. The folder has at most `maxBytes` and a segment: beyond, the oldest segment goes, and who had
 *    not read it misses its events.
 * 4. One process at a time has the folder open (`spool.ts`).
 */
import {
  type FileHandle,
  open,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../oci/errors.ts'

/** Of one reader. */
export interface Cursor {
  /** The number of the event to read next. */
  readonly next: number
  readonly segment: number
  readonly offset: number
}

export interface ReadEvents {
  readonly lines: readonly string[]
  /** Where to go on after them. */
  readonly cursor: Cursor
  /** Events before them that went, since the folder was full. */
  readonly missed: number
}

interface Segment {
  readonly first: number
  size: number
}

/** More in memory are only there when the disk does not take them; then they are lost. */
const maxWaiting = 10_000

/** Longer than any event. */
const readSize = 1024 * 1024

interface Waiting {
  readonly line: string
  readonly isSynced: boolean
  readonly settle: { resolve(): void; reject(error: unknown): void }
}

export class EventLog {
  readonly folder: string
  readonly #maxBytes: number
  readonly #segments: Segment[]
  readonly #cursors = new Map<string, Cursor>()
  readonly #listeners = new Set<() => void>()
  #file: FileHandle | undefined
  #next: number
  readonly #waiting: Waiting[] = []
  #writing: Promise<void> | undefined

  private constructor(
    folder: string,
    maxBytes: number,
    found: { readonly segments: Segment[]; readonly next: number },
  ) {
    this.folder = folder
    this.#maxBytes = maxBytes
    this.#segments = found.segments
    this.#next = found.next
  }

  /** The folder exists, and nobody else uses it. */
  static async open(folder: string, maxBytes: number): Promise<EventLog> {
    const names = await readdir(folder)
    const segments: Segment[] = []
    for (const name of names.filter(text => /^\d{15}\.jsonl$/.test(text)).sort()) {
      segments.push({ first: Number(name.slice(0, 15)), size: 0 })
    }
    let next = segments.at(-1)?.first ?? 1
    for (const segment of segments) {
      const bytes = await readFile(join(folder, nameOf(segment.first)))
      segment.size = bytes.lastIndexOf(0x0a) + 1
      if (segment.size < bytes.length)
        await truncate(join(folder, nameOf(segment.first)), segment.size)
      if (segment === segments.at(-1))
        next = segment.first + countLines(bytes.subarray(0, segment.size))
    }
    return new EventLog(folder, maxBytes, { segments, next })
  }

  /** How many events the reader has not read. */
  pending(reader: string): number {
    return Math.max(0, this.#next - (this.#cursors.get(reader)?.next ?? this.#next))
  }

  /** From now on these are the readers: each goes on where it stood, a new one begins at the end. */
  async useReaders(readers: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.folder)) {
      if (!name.endsWith('.cursor') || readers.has(readerOf(name))) continue
      await rm(join(this.folder, name), { force: true })
    }
    for (const reader of this.#cursors.keys())
      if (!readers.has(reader)) this.#cursors.delete(reader)
    for (const reader of readers) {
      if (this.#cursors.has(reader)) continue
      await this.#place(reader, (await this.#readCursor(reader)) ?? this.#end())
    }
    await this.#dropRead()
  }

  /** Whether every reader has read all that there is. */
  isRead(): boolean {
    return [...this.#cursors.values()].every(({ next }) => next >= this.#next)
  }

  /** Resolves when the event is in the file, or `synced` on the disk. Rejects when it is neither. */
  append(line: string, { isSynced }: { readonly isSynced: boolean }): Promise<void> {
    if (this.#waiting.length >= maxWaiting) {
      return Promise.reject(new Error('Too many events wait for the disk'))
    }
    const written = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ line, isSynced, settle: { resolve, reject } })
    })
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    return written
  }

  /** Up to `most` events from the cursor on, and none when there are no more. */
  async read(reader: string, most: number): Promise<ReadEvents> {
    const stood = this.#cursors.get(reader) ?? this.#end()
    const cursor = this.#onward(stood)
    const missed = cursor.next - stood.next
    const segment = this.#segments.find(({ first }) => first === cursor.segment)
    const bytes = segment === undefined ? undefined : await this.#readBytes(cursor, segment)
    if (bytes === undefined) return { lines: [], cursor, missed }
    const lines: string[] = []
    let at = 0
    while (lines.length < most) {
      const end = bytes.indexOf(0x0a, at)
      if (end === -1) break
      lines.push(bytes.toString('utf8', at, end))
      at = end + 1
    }
    const { next, offset } = cursor
    const after = { ...cursor, next: next + lines.length, offset: offset + at }
    return { lines, cursor: after, missed }
  }

  /** Notes that the reader is done with what is before the cursor. */
  async advance(reader: string, cursor: Cursor): Promise<void> {
    await this.#place(reader, cursor)
    await this.#dropRead()
  }

  /** Resolves when something was appended, or the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        this.#listeners.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      if (signal.aborted) return resolve()
      this.#listeners.add(done)
      signal.addEventListener('abort', done, { once: true })
    })
  }

  async close(): Promise<void> {
    await this.#writing?.catch(() => {})
    await this.#file?.close()
    this.#file = undefined
  }

  #end(): Cursor {
    const last = this.#segments.at(-1)
    return { next: this.#next, segment: last?.first ?? this.#next, offset: last?.size ?? 0 }
  }

  /** Past the end of a segment, or in one that is gone: where the next one begins. */
  #onward(cursor: Cursor): Cursor {
    const segment = this.#segments.find(({ first }) => first === cursor.segment)
    if (segment !== undefined && cursor.offset < segment.size) return cursor
    const following = this.#segments.find(({ first }) => first > cursor.segment)
    if (following !== undefined) return startOf(following)
    return segment === undefined ? this.#end() : cursor
  }

  async #place(reader: string, cursor: Cursor): Promise<void> {
    this.#cursors.set(reader, cursor)
    const path = join(this.folder, cursorName(reader))
    await writeFile(`${path}.tmp`, JSON.stringify(cursor))
    await rename(`${path}.tmp`, path)
  }

  async #readCursor(reader: string): Promise<Cursor | undefined> {
    try {
      const text = await readFile(join(this.folder, cursorName(reader)), 'utf8')
      const { next, segment, offset } = JSON.parse(text) as Partial<Cursor>
      const isWhole = [next, segment, offset].every(Number.isSafeInteger)
      return isWhole ? ({ next, segment, offset } as Cursor) : undefined
    } catch (error) {
      if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
      throw error
    }
  }

  async #readBytes(cursor: Cursor, { size }: Segment): Promise<Buffer | undefined> {
    const length = Math.min(readSize, size - cursor.offset)
    if (length <= 0) return undefined
    try {
      await using file = await open(join(this.folder, nameOf(cursor.segment)))
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, cursor.offset)
      return buffer.subarray(0, bytesRead)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
  }

  /** All that waits, at once: many requests share one write and one sync. */
  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeWaiting()
      try {
        const { file, segment } = await this.#current()
        const bytes = Buffer.from(batch.map(({ line }) => `${line}\n`).join(''))
        await file.write(bytes, 0, bytes.length, segment.size)
        if (batch.some(({ isSynced }) => isSynced)) await file.datasync()
        segment.size += bytes.length
        this.#next += batch.length
        for (const { settle } of batch) settle.resolve()
      } catch (error) {
        await this.#takeBack()
        for (const { settle } of batch) settle.reject(error)
      }
      for (const listener of [...this.#listeners]) listener()
    }
  }

  /** No more than a segment has. */
  #takeWaiting(): readonly Waiting[] {
    let size = 0
    const end = this.#waiting.findIndex(({ line }) => {
      size += line.length
      return size > this.#maxBytes / 16
    })
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : Math.max(end, 1))
  }

  /** What a write that failed may have left would be taken for events after the next start. */
  async #takeBack(): Promise<void> {
    const last = this.#segments.at(-1)
    if (last !== undefined) await this.#file?.truncate(last.size).catch(() => {})
  }

  async #current(): Promise<{ readonly file: FileHandle; readonly segment: Segment }> {
    const last = this.#segments.at(-1)
    const isFull = last === undefined || last.size >= this.#maxBytes / 16
    if (!isFull && this.#file !== undefined) return { file: this.#file, segment: last }
    await this.#file?.close()
    this.#file = undefined
    const segment = isFull ? { first: this.#next, size: 0 } : last
    this.#file = await open(join(this.folder, nameOf(segment.first)), isFull ? 'w' : 'r+', 0o600)
    if (isFull) this.#segments.push(segment)
    await this.#dropOldest()
    return { file: this.#file, segment }
  }

  async #dropOldest(): Promise<void> {
    const total = () => this.#segments.reduce((sum, { size }) => sum + size, 0)
    while (this.#segments.length > 1 && total() > this.#maxBytes) await this.#drop()
  }

  /** Segments that every reader is past. */
  async #dropRead(): Promise<void> {
    const oldest = Math.min(...Array.from(this.#cursors.values(), ({ segment }) => segment))
    while (this.#segments.length > 1 && (this.#segments[0]?.first ?? 0) < oldest) await this.#drop()
  }

  async #drop(): Promise<void> {
    const segment = this.#segments.shift()
    if (segment !== undefined) await rm(join(this.folder, nameOf(segment.first)), { force: true })
  }
}

function startOf({ first }: Segment): Cursor {
  return { next: first, segment: first, offset: 0 }
}

function nameOf(first: number): string {
  return `${String(first).padStart(15, '0')}.jsonl`
}

/** Endpoints may have any name. */
function cursorName(reader: string): string {
  return `${encodeURIComponent(reader)}.cursor`
}

function readerOf(name: string): string {
  return decodeURIComponent(name.slice(0, -'.cursor'.length))
}

function countLines(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) if (byte === 0x0a) count++
  return count
}
