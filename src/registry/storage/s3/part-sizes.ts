/**
 * How large each part of a multipart upload is. S3 takes 10,000 parts, each of 5 MiB or more but the
 * last: the first thousand are small, so that little memory is needed, and every thousand doubles
 * until 64 MiB. That is 500 GiB in all.
 */
const MiB = 1024 * 1024

export const minPartSize = 5 * MiB

const firstPartSize = 8 * MiB
const largestPartSize = 64 * MiB

/** Of the part with this number, from 0. */
export function partSizeOf(index: number, fixed?: number): number {
  return fixed ?? Math.min(largestPartSize, firstPartSize * 2 ** Math.floor(index / 1000))
}
