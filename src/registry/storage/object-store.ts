/**
 * ObjectStore: bytes under keys, with the few operations that a folder and an S3 bucket both have.
 *
 * Everything above this file is written against it, so a new driver is a new place to store things.
 *
 * 1. A `get` or `open` sees a whole object as some `put` or `complete` left it, never a mixture.
 * 2. A conditional write decides and writes as one step: of two writers that hold the same etag,
 *    one succeeds and the other gets `conflict`.
 * 3. After a write resolves, every later read sees it, a `list` included.
 * 4. `list` is in ascending order of the keys' bytes.
 *
 * Keys are components joined by `/`; no key is another key's directory.
 */
import { OciError } from '../../oci/errors.ts'
import type { Arrived } from './arriving-bytes.ts'
import type { Drain } from './drain.ts'

export type Condition =
  /** The key must not exist yet. */
  | { readonly kind: 'absent' }
  /** The object must be the one that carried `etag`. */
  | { readonly kind: 'matches'; readonly etag: string }

export interface PutOptions {
  readonly condition?: Condition
  /**
   * `synced` (default): survives a power failure once the promise resolves. `cached`: survives the
   * end of the process only; for state whose loss costs a client one retry.
   */
  readonly durability?: 'synced' | 'cached'
}

export interface DeleteOptions {
  readonly condition?: Extract<Condition, { kind: 'matches' }>
  /** `cached`: after a power failure the object may be back. */
  readonly durability?: PutOptions['durability']
  /**
   * Whoever may change the object claims it first (`ObjectAppender.claim`), and the caller has done so:
   * no lock of the key is needed to decide the condition.
   */
  readonly isClaimed?: boolean
}

/** A small object, whole. */
export interface StoredObject {
  readonly bytes: Uint8Array
  readonly etag: string
}

/** Half-open: bytes `start` up to, not including, `end`. */
export interface ObjectRange {
  readonly start: number
  readonly end: number
  /** How long the object is, for whoever knows: a range that is all of it may be had for less. */
  readonly of?: number
}

export interface ListPage {
  /** Keys after this one; it need not exist. */
  readonly startAfter?: string
  readonly max: number
}

/** A large object, to be read once. */
export interface ObjectBytes extends AsyncIterable<Uint8Array> {
  /**
   * The same, for less: each chunk may be read until the next but one is asked for, and is other
   * bytes from then on.
   */
  readonly lent?: AsyncIterable<Uint8Array>
  /**
   * All of it into a connection, for least: the kernel moves what it can. Throws when the drain's
   * client goes away, or the bytes break off for good.
   */
  sendTo?(drain: Drain): Promise<void>
}

export interface ObjectReader {
  /** For objects of a few MiB: the bytes are held in memory. */
  get(key: string): Promise<StoredObject | undefined>
  /** Bytes of the object; `undefined` when there is none. */
  size(key: string): Promise<number | undefined>
  /** Opened when the promise resolves, which throws `not-found`. Closed by ending the iteration. */
  open(key: string, range?: ObjectRange): Promise<ObjectBytes>
  /** Up to `page.max` keys that start with `prefix`, which ends in `/`. */
  list(prefix: string, page: ListPage): Promise<readonly string[]>
}

export interface ObjectWriter {
  /** Replaces the object whole and returns its etag. Throws `conflict`, changing nothing. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string>
  /** No error when there is no such object. Throws `conflict`, changing nothing. */
  delete(key: string, options?: DeleteOptions): Promise<void>
}

/** Where an unfinished object stands; `token` is the driver's own. */
export interface Checkpoint {
  readonly size: number
  readonly token: string
}

/**
 * One writer's turn at an unfinished object. It ends with `checkpoint` or `complete`; disposing it
 * before either keeps nothing that this turn wrote.
 */
export interface Append extends AsyncDisposable {
  /** Appends the chunks in order. They are the store's from then on: nobody may change them. */
  write(chunks: readonly Uint8Array[]): Promise<void>
  /**
   * Has `receive` append to a file, and returns what that does. Absent where the bytes go into none.
   */
  receive?(receive: (file: number) => Promise<Arrived>): Promise<Arrived>
  /** Ends the turn; a later `append`, in another process too, continues from the value. */
  checkpoint(): Promise<Checkpoint>
  /**
   * Ends the turn, makes the object readable, synced, and returns its size. Once: throws `conflict`
   * when another turn completed it, and `not-found` when it was discarded meanwhile.
   */
  complete(): Promise<number>
}

/** What is known of a turn before it starts. */
export interface Expected {
  /** Of the whole object, which the turn will complete. */
  readonly size: number
}

/** An object that was begun, in this process or another, and is not under its key yet. */
export interface Unfinished {
  readonly key: string
  /** For `discard`, and for nothing else. */
  readonly checkpoint: Checkpoint
}

/** Large objects that arrive in pieces: a file that grows, or the parts of a multipart upload. */
export interface ObjectAppender {
  /**
   * Starts the object, or continues it: bytes past the checkpoint, left by a turn that never ended,
   * are dropped. Throws `not-found` when the bytes before it are gone, and `conflict` (or its
   * `complete` does) when the object is complete. Two turns at once on one key are the caller's
   * mistake.
   */
  append(key: string, from?: Checkpoint, expected?: Expected): Promise<Append>
  /**
   * Keeps others that ask from the object at the key, in all processes, until it is disposed or its
   * process ends; `undefined` while another has it, and where there is no object. Absent where two
   * turns at the bytes of an upload cannot harm each other.
   */
  claim?(key: string): Promise<Disposable | undefined>
  /** Forgets an unfinished object; one that was completed stays. */
  discard(key: string, from: Checkpoint): Promise<void>
  /** What lies elsewhere than under its key while it is unfinished, of keys that start with `prefix`. */
  unfinished(prefix: string): AsyncIterable<Unfinished>
}

/** Writes that reach the disk together: each is seen at once, and waits for no disk. */
export interface ObjectBatch extends ObjectStore, AsyncDisposable {
  /** An object of these bytes will be put soon: they are on their way to the disk meanwhile. */
  prepare(bytes: Uint8Array): void
  /**
   * Resolves when all that was put and deleted through the batch survives a power failure. Until then
   * nobody may be told of it. Disposing it without leaves that open.
   */
  settle(): Promise<void>
}

export interface ObjectStore extends ObjectReader, ObjectWriter, ObjectAppender {
  /**
   * Whether what this process has in mind of an upload is worth storing for others that serve requests
   * over the same objects: not where reading the bytes once more costs less.
   */
  readonly isShared: boolean
  /**
   * Whether an object is as it was completed or not there at all: no disk of ours is below that may
   * cut it. Its size need not be asked again.
   */
  readonly isReliable: boolean
  /** Whether a question takes a trip over a network. */
  readonly isFar?: boolean
  /** Absent where a write costs no wait for a disk. */
  batch?(): ObjectBatch
  /** Of a batch: see {@link ObjectBatch}. */
  prepare?(bytes: Uint8Array): void
  settle?(): Promise<void>
  /** Whether `open` gives what `append` has written so far of an object that is not complete. */
  readonly showsUnfinished?: boolean
  /** An address that lets whoever has it read the object for `seconds`, where there is such a thing. */
  urlOf?(key: string, seconds: number): Promise<string>
}

export function conditionFailed(key: string): OciError {
  return new OciError('conflict', `Cannot write object "${key}": it was changed meanwhile`)
}

/** All keys under `prefix`, a page at a time. */
export async function* listAll(store: ObjectReader, prefix: string): AsyncGenerator<string> {
  const max = 1000
  let startAfter: string | undefined
  for (;;) {
    const keys = await store.list(prefix, {
      max,
      ...(startAfter === undefined ? {} : { startAfter }),
    })
    yield* keys
    startAfter = keys.at(-1)
    if (keys.length < max) return
  }
}
