/** What is known of the contents of a directory's files, by their places in its listing. */
const digestSize = 32
const isDigest = /^[0-9a-f]{64}$/
const unknown = Buffer.alloc(digestSize)

export class FileContents {
  /** The SHA-256 of each; zeros where it is not known, or not all that there is to know. */
  readonly digests: Buffer
  /** The others, of which there are few. */
  readonly others: Map<number, string>

  constructor(digests: Buffer, others: Iterable<readonly [number, string]> = []) {
    this.digests = digests
    this.others = new Map(others)
  }

  static unknown(length: number): FileContents {
    return new FileContents(Buffer.alloc(length * digestSize))
  }

  copy(): FileContents {
    return new FileContents(Buffer.from(this.digests), this.others)
  }

  get length(): number {
    return this.digests.length / digestSize
  }

  find(index: number): string | undefined {
    const digest = this.digestsFrom(index).subarray(0, digestSize)
    return digest.equals(unknown) ? this.others.get(index) : digest.toString('hex')
  }

  put(index: number, content: string): void {
    this.forget(index)
    if (isDigest.test(content)) this.digests.write(content, index * digestSize, 'hex')
    else this.others.set(index, content)
  }

  /** What `from` knows of its entry `index` is known here of `own`, of which nothing was. */
  take(own: number, from: FileContents, index: number): void {
    const start = index * digestSize
    from.digests.copy(this.digests, own * digestSize, start, start + digestSize)
    const other = from.others.get(index)
    if (other !== undefined) this.others.set(own, other)
  }

  forget(index: number): void {
    this.others.delete(index)
    this.digestsFrom(index).fill(0, 0, digestSize)
  }

  digestsFrom(index: number): Buffer {
    return this.digests.subarray(index * digestSize)
  }
}
