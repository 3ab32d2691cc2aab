// New inputs out of old ones. The same seed makes the same sequence.

const interesting = [0, 1, 0x2f, 0x30, 0x37, 0x7f, 0x80, 0xff]

export class Mutator {
  #state
  #words
  #block

  constructor(seed, words, block = 512) {
    this.#block = block
    this.#state = seed | 1
    this.#words = words.map(word => Buffer.from(word, 'latin1'))
  }

  // Of 0 to `limit` − 1 (mulberry32).
  below(limit) {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % Math.max(1, limit)
  }

  pick(list) {
    return list[this.below(list.length)]
  }

  mutate(input, corpus, maxLength) {
    let bytes = Buffer.from(input)
    for (let times = 1 + this.below(4); times > 0; times--) {
      bytes = this.pick(mutations).call(this, bytes, corpus)
    }
    return bytes.subarray(0, maxLength)
  }

  // Where one of the input's blocks begins.
  blockIn(bytes) {
    return this.#block * this.below(bytes.length / this.#block)
  }

  blocks(limit) {
    return this.#block * (1 + this.below(limit))
  }

  word() {
    return this.#words.length === 0 ? Buffer.alloc(1) : this.pick(this.#words)
  }
}

const mutations = [
  function flipBit(bytes) {
    const at = this.below(bytes.length)
    if (bytes.length > 0) bytes[at] ^= 1 << this.below(8)
    return bytes
  },
  function setByte(bytes) {
    if (bytes.length > 0) bytes[this.below(bytes.length)] = this.pick(interesting)
    return bytes
  },
  function overwriteWithWord(bytes) {
    this.word().copy(bytes, this.below(bytes.length))
    return bytes
  },
  function insertWord(bytes) {
    const at = this.below(bytes.length + 1)
    return Buffer.concat([bytes.subarray(0, at), this.word(), bytes.subarray(at)])
  },
  function copyWithin(bytes) {
    const [from, to] = [this.below(bytes.length), this.below(bytes.length)]
    bytes.copyWithin(to, from, from + 1 + this.below(100))
    return bytes
  },
  function removeBytes(bytes) {
    const at = this.below(bytes.length)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + this.below(16))])
  },
  function truncate(bytes) {
    return bytes.subarray(0, this.below(bytes.length + 1))
  },
  function removeBlocks(bytes) {
    const at = this.blockIn(bytes)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + this.blocks(3))])
  },
  function repeatBlocks(bytes) {
    const at = this.blockIn(bytes)
    const part = bytes.subarray(at, at + this.blocks(3))
    const to = this.blockIn(bytes)
    return Buffer.concat([bytes.subarray(0, to), part, bytes.subarray(to)])
  },
  function splice(bytes, corpus) {
    const other = this.pick(corpus)
    const from = this.blockIn(other)
    const part = other.subarray(from, from + this.blocks(6))
    const at = this.blockIn(bytes)
    return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)])
  },
]
