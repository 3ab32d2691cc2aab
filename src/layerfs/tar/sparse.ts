/**
 * Sparse files: which parts of a file the archive holds. Four ways to say it, one result.
 *
 *   GNU "S"       pairs in the header block and in extension blocks behind it
 *   PAX 0.0       records GNU.sparse.offset, GNU.sparse.numbytes, repeated in turn
 *   PAX 0.1       one record GNU.sparse.map=offset,length,…
 *   PAX 1.0       decimal lines at the start of the content, padded to a block
 *
 * Spec: GNU tar manual, Storing Sparse Files.
 */
import { OciError } from '../../oci/errors.ts'
import { decodeNumber, readField } from './fields.ts'
import { type PaxRecord, parsePaxInteger } from './pax.ts'

/** Bytes of the file that the archive holds, in the order they stand there. */
export interface Region {
  readonly offset: number
  readonly length: number
}

const pairLength = 24

/** The up to four regions of an "S" header block. */
export function headerRegions(block: Buffer): Region[] {
  return regionsOf(block.subarray(386, 386 + 4 * pairLength))
}

/** The up to 21 regions of an extension block. */
export function extensionRegions(block: Buffer): Region[] {
  return regionsOf(block.subarray(0, 21 * pairLength))
}

export function hasExtension(header: Buffer): boolean {
  return readField(header, 'gnuSparseExtended')[0] !== 0
}

export function extensionContinues(block: Buffer): boolean {
  return block[21 * pairLength] !== 0
}

function regionsOf(bytes: Buffer): Region[] {
  const regions: Region[] = []
  for (let at = 0; at < bytes.length; at += pairLength) {
    // An offset that was never written ends the list.
    if (bytes[at] === 0) break
    regions.push({
      offset: decodeNumber(bytes, { offset: at, length: 12 }),
      length: decodeNumber(bytes, { offset: at + 12, length: 12 }),
    })
  }
  return regions
}

/** PAX 0.0 and 0.1; `undefined` when the records hold no map. */
export function recordRegions(records: readonly PaxRecord[]): Region[] | undefined {
  const map = records.findLast(record => record.keyword === 'GNU.sparse.map')
  if (map !== undefined) return pairs(map.value.toString('latin1').split(','))
  const numbers = records.filter(
    ({ keyword }) => keyword === 'GNU.sparse.offset' || keyword === 'GNU.sparse.numbytes',
  )
  if (numbers.length === 0) return undefined
  for (const [index, record] of numbers.entries()) {
    const expected = index % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes'
    if (record.keyword !== expected) throw invalidMap('offsets and lengths do not alternate')
  }
  return pairs(numbers.map(record => String(parsePaxInteger(record))))
}

/** PAX 1.0: the map as it arrives, block by block. */
export class ContentMap {
  #text = ''
  #lines = 0
  /** Lines of the whole map, once the first one is there. */
  #wanted: number | undefined

  /** Bytes of the map so far. */
  get length(): number {
    return this.#text.length
  }

  /** The regions, once `block` completes them. */
  add(block: Buffer): Region[] | undefined {
    this.#text += block.toString('latin1')
    // Counted, not split again and again: a map may have as many blocks as its budget allows.
    for (const byte of block) if (byte === 0x0a) this.#lines += 1
    if (this.#lines === 0) return undefined
    this.#wanted ??= 1 + 2 * decimal(this.#text.slice(0, this.#text.indexOf('\n')))
    if (this.#lines < this.#wanted) return undefined
    return pairs(this.#text.split('\n', this.#wanted).slice(1))
  }
}

function pairs(numbers: readonly string[]): Region[] {
  if (numbers.length % 2 !== 0) throw invalidMap('an offset has no length')
  const regions: Region[] = []
  for (let index = 0; index < numbers.length; index += 2) {
    regions.push({
      offset: decimal(numbers[index] ?? ''),
      length: decimal(numbers[index + 1] ?? ''),
    })
  }
  return regions
}

function decimal(text: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw invalidMap('not a decimal number')
  return value
}

/**
 * The regions, without empty ones, proved to ascend within `realSize` and to hold `stored` bytes:
 * a map that says otherwise would have us write one file's bytes past its end or into the next.
 */
export function checkedRegions(
  regions: readonly Region[],
  { realSize, stored }: { readonly realSize: number; readonly stored: number },
): Region[] {
  let end = 0
  let total = 0
  for (const { offset, length } of regions) {
    if (offset < end || length < 0 || offset + length > realSize) {
      throw invalidMap('regions overlap or leave the file')
    }
    end = offset + length
    total += length
  }
  if (total !== stored) throw invalidMap(`regions hold ${total} bytes, the archive ${stored}`)
  return regions.filter(region => region.length > 0)
}

function invalidMap(what: string): OciError {
  return new OciError('invalid', `Cannot read tar sparse map: ${what}`)
}
