/** Operations as the bytes that the native program reads; native/sandbox/input.c has their table. */
import { OciError, printable } from '../../oci/errors.ts'
import { isLittleEndian } from './records.ts'

export type Operation = readonly [name: string, ...words: (string | number | Uint8Array)[]]

/** As the native program reads them. Throws `invalid` for a text with a NUL. */
export function encodeWords(list: readonly Operation[]): Buffer {
  let words = ''
  for (const operation of list) {
    for (const word of operation) {
      const bytes = bytesOf(word)
      words += `${lengthOf(bytes)}${bytes}\0`
    }
  }
  // One call makes them all: to write hundreds of words, each by one, took a tenth of a short step.
  return Buffer.from(lengthOf(words) + words, 'latin1')
}

/** A character for each byte, as in all the text here. */
function lengthOf({ length }: string): string {
  const bytes = [length & 0xff, (length >> 8) & 0xff, (length >> 16) & 0xff, length >>> 24]
  return String.fromCharCode(...(isLittleEndian ? bytes : bytes.reverse()))
}

function bytesOf(word: string | number | Uint8Array): string {
  if (typeof word === 'object') return latin1Of(word)
  const text = String(word)
  if (!text.includes('\0')) return isAscii(text) ? text : latin1Of(Buffer.from(text))
  throw new OciError('invalid', `Cannot run with "${printable(text)}": it contains a NUL character`)
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

function latin1Of({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
}
