/**
 * Files of a directory that somebody else filled: what is no regular file is refused unopened, so
 * that no FIFO blocks and no device acts. Links are followed: who names the directory may have made
 * it of links, and what is read is verified.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { OciError, printable } from '../../oci/errors.ts'
import { openFlags } from '../native/syscalls.ts'

/**
 * `path` for reading; the caller closes it. Throws ENOENT, and `invalid` for anything else than a
 * regular file.
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  await using found = await open(path, openFlags.path)
  if (!(await found.stat()).isFile()) {
    throw new OciError('invalid', `Cannot read "${printable(path)}": not a regular file`)
  }
  // The same file, whatever the path names by now. A file of /proc may block all the same.
  return await open(`/proc/self/fd/${found.fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
}

/** The whole of a file. As {@link openRegularFile}; `too-large` for more than `maxSize` bytes. */
export async function readRegularFile(path: string, maxSize: number): Promise<Buffer> {
  const file = await openRegularFile(path)
  const parts: Buffer[] = []
  let size = 0
  // Not by what stat says: it may grow. The stream closes the file.
  for await (const part of file.createReadStream({ end: maxSize })) {
    parts.push(part)
    size += part.length
  }
  if (size <= maxSize) return Buffer.concat(parts)
  throw new OciError('too-large', `Cannot read "${printable(path)}": more than ${maxSize} bytes`)
}
