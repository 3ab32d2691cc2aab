/**
 * SHA-256 whose state can be stored, so that another process goes on with it. A tenth as fast as
 * `node:crypto` (115 to 1,100 MiB/s, measured), whose state cannot: it is for uploads that come in
 * announced chunks, of which each may reach another replica. Those that stream are hashed by Node,
 * and the digest of what came so far is stored: mostly that is all there is.
 */
import { sha256 } from '@noble/hashes/sha2.js'

/** As Node's `Hash`, of which it takes the place. */
export interface RunningDigest {
  update(chunk: Uint8Array): unknown
  /** The same by a thread: until it has settled, nothing else may be asked of the hash. */
  updateByThread?(chunks: readonly Uint8Array[]): Promise<void>
  digest(encoding: 'hex'): string
  copy(): RunningDigest
}

/** The fields of the library's object that make its state; a test compares it with Node's. */
interface Inner {
  readonly buffer: Uint8Array
  pos: number
  length: number
  get(): number[]
  set(...words: number[]): void
}

type Engine = ReturnType<typeof sha256.create>

export class ResumableHash implements RunningDigest {
  readonly #engine: Engine

  constructor(engine: Engine = sha256.create()) {
    this.#engine = engine
  }

  update(chunk: Uint8Array): void {
    this.#engine.update(chunk)
  }

  digest(_encoding: 'hex'): string {
    return Buffer.from(this.#engine.digest()).toString('hex')
  }

  copy(): ResumableHash {
    return new ResumableHash(this.#engine.clone())
  }

  /** Eight words of the state, the bytes of an unfinished block, and how many bytes there were. */
  save(): string {
    const { buffer, pos, length, get } = innerOf(this.#engine)
    const words = Int32Array.from(get.call(this.#engine))
    const rest = Buffer.from(buffer.subarray(0, pos)).toString('base64')
    return [Buffer.from(words.buffer).toString('base64'), rest, length].join(' ')
  }
}

/** `undefined` when the text is not a saved state. */
export function restoreHash(text: string): ResumableHash | undefined {
  const [words = '', rest = '', length = ''] = text.split(' ')
  const state = Uint8Array.from(Buffer.from(words, 'base64'))
  const bytes = Buffer.from(rest, 'base64')
  const size = Number(length)
  if (state.length !== 32 || !Number.isSafeInteger(size) || size % 64 !== bytes.length)
    return undefined
  const engine = sha256.create()
  const inner = innerOf(engine)
  inner.set(...new Int32Array(state.buffer))
  inner.buffer.set(bytes)
  inner.pos = bytes.length
  inner.length = size
  return new ResumableHash(engine)
}

function innerOf(engine: Engine): Inner {
  return engine as unknown as Inner
}
