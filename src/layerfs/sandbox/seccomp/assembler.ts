/**
 * Classic BPF, written from its end: every jump goes forward, to what is already placed.
 */
import { OciError } from '../../../oci/errors.ts'

/** The place of an instruction, counted from the end: 1 is the last. */
export type Label = number

interface Instruction {
  readonly code: number
  readonly value: number
  readonly yes?: number
  readonly no?: number
}

const loadWord = 0x20
const andWith = 0x54
const jumpAlways = 0x05
const give = 0x06
const comparisons = { eq: 0x15, gt: 0x25, ge: 0x35 } as const

/** The kernel takes no more. */
const maxInstructions = 4096
const instructionSize = 8
/** A branch has a byte for each way. */
const farthestBranch = 255

export class Assembler {
  /** From the last to the first. */
  readonly #code: Instruction[] = []
  readonly #verdicts = new Map<number, Label>()

  /** The instruction that ends with `action`; one for each. */
  verdict(action: number): Label {
    const placed = this.#verdicts.get(action)
    if (placed !== undefined) return placed
    const label = this.#emit({ code: give, value: action })
    this.#verdicts.set(action, label)
    return label
  }

  /** Loads a word of what the kernel tells about the call, and goes on at `next`. */
  load(offset: number, next: Label): Label {
    if (next !== this.#code.length) this.#jump(next)
    return this.#emit({ code: loadWord, value: offset })
  }

  /** Goes on at what was placed last. */
  and(mask: number): Label {
    return this.#emit({ code: andWith, value: mask })
  }

  /** To the first label when what is loaded compares so with `value`, else to the second. */
  branch(is: keyof typeof comparisons, value: number, [yes, no]: readonly [Label, Label]): Label {
    // Bridges first: the second must not push the first label out of reach again.
    const isNear = (label: Label) => this.#code.length - label < farthestBranch - 1
    const [near, other] = [isNear(yes) ? yes : this.#jump(yes), isNear(no) ? no : this.#jump(no)]
    const distance = (label: Label) => this.#code.length - label
    return this.#emit({ code: comparisons[is], value, yes: distance(near), no: distance(other) })
  }

  #jump(label: Label): Label {
    return this.#emit({ code: jumpAlways, value: this.#code.length - label })
  }

  #emit(instruction: Instruction): Label {
    if (this.#code.length === maxInstructions) {
      throw new OciError(
        'invalid',
        `Cannot use the seccomp profile: its program has more than ${maxInstructions} instructions`,
      )
    }
    return this.#code.push(instruction)
  }

  /** struct sock_filter, one after the other. */
  finish(): Uint8Array {
    const bytes = Buffer.alloc(this.#code.length * instructionSize)
    for (const [index, { code, value, yes = 0, no = 0 }] of [...this.#code].reverse().entries()) {
      const at = index * instructionSize
      bytes.writeUInt16LE(code, at)
      bytes.writeUInt8(yes, at + 2)
      bytes.writeUInt8(no, at + 3)
      bytes.writeUInt32LE(value >>> 0, at + 4)
    }
    return bytes
  }
}
