/**
 * NameBudget: what remembering paths may cost. One entry of a megabyte implies thousands of
 * directories, each with a path of its own: a layer of some kilobytes could take all memory.
 */
import { OciError } from '../../oci/errors.ts'
import type { SafePath } from './path-bytes.ts'

export class NameBudget {
  readonly #limit: number
  #spent = 0

  /** Bytes of all paths together. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Throws `too-large` when `path` is one too many. */
  spend(path: SafePath): void {
    this.spendBytes(path.length)
  }

  /** Of what else is remembered with a path. */
  spendBytes(bytes: number): void {
    this.#spent += bytes
    if (this.#spent <= this.#limit) return
    throw new OciError(
      'too-large',
      `The paths of its directories, links and whiteouts exceed ${this.#limit} bytes`,
    )
  }
}
