/** ADD of a local archive: its content goes where the file would have gone (C24, C25). */
import { closeSync, readSync } from 'node:fs'
import type { CopyEnd, CopyOptions } from '../../layerfs/layer/copy.ts'
import { detectEncoding } from '../../layerfs/layer/decompress.ts'
import { openAs } from '../../layerfs/layer/file-type.ts'
import { OciError } from '../../oci/errors.ts'

/** Whether it was an archive; otherwise nothing was done, and the file is copied as it is. */
export async function addArchive(
  source: CopyEnd,
  _target: CopyEnd,
  _options: { readonly options: CopyOptions; readonly signal: AbortSignal },
): Promise<boolean> {
  if (!looksLikeArchive(source)) return false
  throw new OciError('unsupported', 'ADD of an archive is not supported yet')
}

const headSize = 512

function looksLikeArchive({ root, path }: CopyEnd): boolean {
  const fd = root.open(path, openAs.reading)
  try {
    const head = Buffer.alloc(headSize)
    const size = readSync(fd, head, 0, headSize, 0)
    const isTar = head.toString('latin1', 257, 262) === 'ustar'
    return isTar || detectEncoding(head.subarray(0, size)) !== 'none'
  } finally {
    closeSync(fd)
  }
}
