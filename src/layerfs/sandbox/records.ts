/**
 * The records that the native program writes while it works; native/sandbox/report.c has the list.
 */

import type { PublishedPort } from './spec.ts'

export type SandboxRecord =
  | {
      readonly kind: 'error'
      readonly step: string
      readonly errno: number
      readonly detail: string
    }
  | CreatedTarget
  | {
      readonly kind: 'network'
      readonly address: string
      readonly gateway: string
      readonly blockedBy: string
    }
  | ({ readonly kind: 'port' } & PublishedPort)
  /** Its own number, of one that a spawner made. */
  | { readonly kind: 'monitor'; readonly pid: number }
  /** Of a bundle: waits for our word before it enters its root. */
  | { readonly kind: 'made'; readonly pid: number }
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'exit'; readonly code: number; readonly signal: number }

/** A mount target that the root lacked and that was made in its upper directory. */
export interface CreatedTarget {
  readonly kind: 'created'
  readonly path: string
  readonly type: 'directory' | 'file'
  /** Modification times, in nanoseconds, of the directory it was made in. */
  readonly before: bigint
  readonly after: bigint
}

/** Splits a stream of bytes into records; what is left of one waits for the next bytes. */
export class RecordReader {
  #rest: Buffer = Buffer.alloc(0)

  push(chunk: Uint8Array): SandboxRecord[] {
    let bytes = Buffer.concat([this.#rest, chunk])
    const records: SandboxRecord[] = []
    while (bytes.length >= 4) {
      const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, isLittleEndian)
      if (bytes.length < 4 + size) break
      records.push(decode(bytes.toString('utf8', 4, 4 + size).split('\0')))
      bytes = bytes.subarray(4 + size)
    }
    this.#rest = bytes
    return records
  }
}

/** The native program reads and writes integers in the machine's byte order. */
export const isLittleEndian: boolean = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function decode([kind, first = '', second = '', third = '', fourth = '']: string[]): SandboxRecord {
  switch (kind) {
    case 'error':
      return { kind, step: first, errno: Number(second), detail: third }
    case 'created':
      return {
        kind,
        path: first,
        type: second === 'directory' ? 'directory' : 'file',
        before: BigInt(third),
        after: BigInt(fourth),
      }
    case 'network':
      return { kind, address: first, gateway: second, blockedBy: third }
    case 'port':
      return {
        kind,
        hostAddress: first,
        hostPort: Number(second),
        port: Number(third),
        protocol: fourth === 'udp' ? 'udp' : 'tcp',
      }
    case 'monitor':
    case 'made':
    case 'started':
      return { kind, pid: Number(first) }
    case 'exit':
      return { kind, code: Number(first), signal: Number(second) }
    default:
      throw new Error(`The sandbox sent an unknown record "${kind}"`)
  }
}
