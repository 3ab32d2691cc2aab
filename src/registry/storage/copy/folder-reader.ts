/** A folder that somebody else wrote, as an ObjectReader: nothing in it is changed. */
import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OciError } from '../../../oci/errors.ts'
import { DirectoryCache } from '../filesystem/directory-cache.ts'
import { fileBytes } from '../filesystem/file-bytes.ts'
import { listKeys } from '../filesystem/listing.ts'
import type { ObjectReader } from '../object-store.ts'

/** What a bucket does not tell cheaply. */
export interface DatedReader extends ObjectReader {
  /** Milliseconds since 1970; `undefined` when there is no such object. */
  modifiedAt?(key: string): Promise<number | undefined>
}

export function folderReader(root: string): DatedReader {
  const directories = new DirectoryCache()
  return {
    get: async key => {
      const file = await openToRead(join(root, key))
      if (file === undefined) return undefined
      try {
        return { bytes: await file.readFile(), etag: '' }
      } finally {
        await file.close()
      }
    },
    size: async key => (await describe(join(root, key)))?.size,
    modifiedAt: async key => (await describe(join(root, key)))?.mtimeMs,
    open: async (key, range = { start: 0, end: Number.POSITIVE_INFINITY }) => {
      const file = await openToRead(join(root, key))
      if (file === undefined) throw new OciError('not-found', `Cannot open "${key}": no such file`)
      return fileBytes(file, range)
    },
    list: (prefix, { startAfter = '', max }) =>
      listKeys({ root, directories, prefix, startAfter, max }),
  }
}

async function describe(path: string) {
  try {
    const found = await stat(path)
    return found.isFile() ? found : undefined
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/** `undefined` when there is none, or something else than a file: a pipe would never end. */
async function openToRead(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isAbsence(error) || hasCode(error, 'ELOOP')) return undefined
    throw error
  }
  if ((await file.stat()).isFile()) return file
  await file.close()
  return undefined
}

function isAbsence(error: unknown): boolean {
  return hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')
}
