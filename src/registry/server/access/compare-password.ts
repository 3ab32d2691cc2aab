/**
 * bcrypt in a thread of its own: a comparison takes as long as a hundred requests, and would hold
 * them all up. One thread, so passwords that are guessed take one processor at most.
 *
 * Run from TypeScript sources, which no thread of Node 20 can load, it works in its own thread.
 */
import { Worker } from 'node:worker_threads'
import { compare } from 'bcryptjs'

export interface PasswordComparer extends AsyncDisposable {
  compare(password: string, hash: string): Promise<boolean>
}

export interface ComparisonJob {
  readonly id: number
  readonly password: string
  readonly hash: string
}

export interface ComparisonResult {
  readonly id: number
  readonly isEqual: boolean
}

const workerFile = import.meta.url.endsWith('.ts')
  ? undefined
  : new URL('./compare-password-worker.js', import.meta.url)

export function openPasswordComparer(): PasswordComparer {
  return workerFile === undefined
    ? { compare, [Symbol.asyncDispose]: async () => {} }
    : new Thread(workerFile)
}

interface Waiting {
  readonly resolve: (isEqual: boolean) => void
  readonly reject: (error: Error) => void
}

class Thread implements PasswordComparer {
  readonly #file: URL
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #lastId = 0

  constructor(file: URL) {
    this.#file = file
  }

  compare(password: string, hash: string): Promise<boolean> {
    const job: ComparisonJob = { id: ++this.#lastId, password, hash }
    this.#worker ??= this.#start()
    return new Promise((resolve, reject) => {
      this.#waiting.set(job.id, { resolve, reject })
      this.#worker?.postMessage(job)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate()
  }

  #start(): Worker {
    const worker = new Worker(this.#file)
    // The server's sockets keep the process, not this.
    worker.unref()
    worker.on('message', ({ id, isEqual }: ComparisonResult) => {
      this.#waiting.get(id)?.resolve(isEqual)
      this.#waiting.delete(id)
    })
    worker.on('error', error => this.#fail(error))
    worker.on('exit', () => this.#fail(new Error('The thread that compares passwords ended')))
    return worker
  }

  /** The next comparison starts another thread. */
  #fail(error: Error): void {
    this.#worker = undefined
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
