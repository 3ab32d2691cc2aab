/**
 * `Range` of a blob, and `Content-Range` of a chunk. Spec: RFC 9110 §14; distribution-spec, Pushing
 * a blob in chunks, whose Content-Range is `<first>-<last>` without unit or length.
 */
import type { ObjectRange } from '../storage/object-store.ts'
import { ResourceError } from '../storage/resource-error.ts'

export type RangeAnswer =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ObjectRange }
  | { readonly kind: 'unsatisfiable' }

/**
 * Ranges in other units, and several at once, are answered with the whole blob, as RFC 9110 allows:
 * a thousand overlapping ranges cost no more than one download. `500-0` is unsatisfiable: the
 * conformance suite asks for it.
 */
export function parseByteRange(header: string | undefined, size: number): RangeAnswer {
  const match = /^bytes=([0-9]{0,19})-([0-9]{0,19})$/.exec(header?.trim() ?? '')
  const [, first = '', last = ''] = match ?? []
  if (match === null || (first === '' && last === '')) return { kind: 'whole' }
  if (first === '') return suffix(Number(last), size)
  const start = Number(first)
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  if (start >= size || end <= start) return { kind: 'unsatisfiable' }
  return { kind: 'part', range: { start, end } }
}

function suffix(length: number, size: number): RangeAnswer {
  if (length === 0 || size === 0) return { kind: 'unsatisfiable' }
  return { kind: 'part', range: { start: Math.max(0, size - length), end: size } }
}

export interface ChunkRange {
  readonly first: number
  /** Inclusive. */
  readonly last: number
}

/** Throws `invalid` of the upload for anything that is not `<first>-<last>`, first ≤ last. */
export function parseChunkRange(header: string | undefined): ChunkRange | undefined {
  if (header === undefined) return undefined
  const match = /^([0-9]{1,16})-([0-9]{1,16})$/.exec(header)
  const first = Number(match?.[1])
  const last = Number(match?.[2])
  const valid = Number.isSafeInteger(first) && Number.isSafeInteger(last) && first <= last
  if (valid) return { first, last }
  throw new ResourceError('invalid upload', 'Cannot use Content-Range: expected "<first>-<last>"')
}

/** `Range` of what an upload has. The spec has no form for nothing: it is told like one byte. */
export function receivedRange(size: number): string {
  return `0-${Math.max(0, size - 1)}`
}
