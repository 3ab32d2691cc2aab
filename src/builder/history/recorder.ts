/** Keeps a build while it runs: see build-record.ts. */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '../../layerfs/content/atomic-file.ts'
import { type FileLock, tryLock } from '../../layerfs/content/file-lock.ts'
import { hasCode } from '../../oci/errors.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import { type BuildEnd, type BuildHeader, type RecordLine, recordVersion } from './build-record.ts'
import { directoryOf, type HistoryStore, pruneBuilds } from './builds.ts'

export interface BuildRecorder extends Disposable {
  readonly id: string
  readonly emit: EmitBuildEvent
  /** The number of the step that failed first, if one did and had output. */
  failedStep(): number | undefined
  end(state: BuildEnd): void
}

export type BuildTitle = Omit<BuildHeader, 'id' | 'startedAt'>

/**
 * A build goes on when it cannot be recorded, on a full disk: its record then ends early. Older
 * builds beyond those that are kept are forgotten first.
 */
export async function openRecorder(
  store: HistoryStore,
  title: BuildTitle,
  now: () => Date,
): Promise<BuildRecorder> {
  await pruneBuilds(store)
  const started = now()
  const id = newId(started)
  return new Recorder(store, { ...title, id, startedAt: started.toISOString() }, now)
}

function newId(time: Date): string {
  const digits = time.toISOString().replace(/\D/g, '')
  const milliseconds = digits.slice(14, 17)
  const day = digits.slice(0, 8)
  return `${day}-${digits.slice(8, 14)}-${milliseconds}${randomBytes(1).toString('hex')}`
}

interface Vertex {
  readonly number: number
  /** Of its output, once there is some. */
  log?: number
  hasOutput: boolean
}

class Recorder implements BuildRecorder {
  readonly id: string
  readonly #directory: string
  #lock: FileLock | undefined
  readonly #now: () => Date
  readonly #started: number
  readonly #vertices = new Map<string, Vertex>()
  #events: number | undefined
  #failed: number | undefined

  constructor(store: HistoryStore, header: BuildHeader, now: () => Date) {
    this.id = header.id
    this.#now = now
    this.#started = now().getTime()
    this.#directory = directoryOf(store, header.id)
    this.#try(() => {
      makeDirectory(this.#directory, 0o700)
      this.#lock = tryLock(this.#directory, 'exclusive')
      this.#events = openSync(join(this.#directory, 'events.jsonl'), 'ax', 0o600)
      writeSync(this.#events, `${JSON.stringify({ version: recordVersion, ...header })}\n`)
    })
  }

  readonly emit: EmitBuildEvent = event => {
    if (event.kind === 'status') return
    const vertex = event.id === undefined ? undefined : this.#vertices.get(event.id)
    if (event.kind === 'log') return this.#log(vertex, event.bytes)
    if (event.kind === 'started') {
      this.#vertices.set(event.id, { number: this.#vertices.size + 1, hasOutput: false })
    } else if (event.kind === 'failed' && vertex?.hasOutput === true) this.#failed ??= vertex.number
    if (event.kind === 'done' || event.kind === 'failed') closeLog(vertex)
    this.#write({ ...event, at: this.#time() })
  }

  failedStep(): number | undefined {
    return this.#failed
  }

  end(state: BuildEnd): void {
    this.#write({ ...state, at: this.#time() })
  }

  [Symbol.dispose](): void {
    for (const vertex of this.#vertices.values()) closeLog(vertex)
    if (this.#events !== undefined) closeSync(this.#events)
    this.#events = undefined
    this.#lock?.[Symbol.dispose]()
  }

  #time(): number {
    return this.#now().getTime() - this.#started
  }

  #log(vertex: Vertex | undefined, bytes: Uint8Array): void {
    if (vertex === undefined || this.#events === undefined) return
    this.#try(() => {
      vertex.log ??= openSync(join(this.#directory, `${vertex.number}.log`), 'a', 0o600)
      vertex.hasOutput = true
      for (let at = 0; at < bytes.length; ) at += writeSync(vertex.log, bytes, at)
    })
  }

  #write(line: RecordLine): void {
    this.#try(() => {
      if (this.#events !== undefined) writeSync(this.#events, `${JSON.stringify(line)}\n`)
    })
  }

  /** What the disk refuses is not recorded, and nothing after it: no half lines in between. */
  #try(write: () => void): void {
    try {
      write()
    } catch (error) {
      const refused = ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE'] as const
      const isFull = refused.some(code => hasCode(error, code))
      if (!isFull) throw error
      if (this.#events !== undefined) closeSync(this.#events)
      this.#events = undefined
    }
  }
}

function closeLog(vertex: Vertex | undefined): void {
  if (vertex?.log === undefined) return
  closeSync(vertex.log)
  delete vertex.log
}
