/** Operations as the bytes that the native program reads; native/sandbox/input.c has their table. */
import { OciError, printable } from '../../oci/errors.ts'
import { isLittleEndian } from './records.ts'

export type Operation = readonly [name: string, ...words: (string | number | Uint8Array)[]]

/** As the native program reads them. Throws `invalid` for a text with a NUL. */
export function encodeWords(list: readonly Operation[]): Buffer {
  const words = list.flat().map(textOrBytes)
  const size = words.reduce((sum, word) => sum + lengthOf(word) + wordOverhead, 0)
  const input = Buffer.alloc(4 + size)
  const numbers = new DataView(input.buffer, input.byteOffset)
  numbers.setUint32(0, size, isLittleEndian)
  let at = 4
  for (const word of words) {
    const start = at + 4
    if (typeof word === 'string') at = start + input.write(word, start)
    else at = start + word.copy(input, start)
    numbers.setUint32(start - 4, at - start, isLittleEndian)
    at++
  }
  return input
}

function lengthOf(word: string | Buffer): number {
  return typeof word === 'string' ? Buffer.byteLength(word) : word.length
}

/** The length before each word, and the NUL after it. */
const wordOverhead = 4 + 1

function textOrBytes(word: string | number | Uint8Array): string | Buffer {
  if (typeof word === 'object') return Buffer.from(word.buffer, word.byteOffset, word.byteLength)
  const text = String(word)
  if (!text.includes('\0')) return text
  throw new OciError('invalid', `Cannot run with "${printable(text)}": it contains a NUL character`)
}
