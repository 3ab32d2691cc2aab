/** Bytes that come over a network, to be read, or taken by a thread. */
import type { Received, ReceiveInto } from '../../layerfs/content/receive.ts'

export type { Received, ReceiveInto }

export interface ArrivingBytes extends AsyncIterable<Uint8Array> {
  /**
   * Takes them from JavaScript, where they are many and come as they are by a connection of the system:
   * instead of reading them. `undefined`, and nothing has happened, where it cannot be done, or had
   * better not be. Throws as reading does.
   */
  take?(): TakenBytes | undefined
}

/** Disposed when nothing more is asked of it. */
export interface TakenBytes extends Disposable {
  /** Those that have come. */
  readonly first: Uint8Array
  /** The others, into a file and a hash. Once; never throws. */
  receive(into: ReceiveInto): Promise<Arrived>
}

export interface Arrived {
  /** As many of the others are in the file. */
  readonly received: number
  /** Why not all are: what reading them would have thrown, or the file's failure. */
  readonly failure?: unknown
  /** Whether the hash has seen just those: not where the file failed. */
  readonly isHashed: boolean
}
