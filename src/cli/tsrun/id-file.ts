/** `--cidfile`: a new file that gets the container's id, and is gone again when there is no container. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { hasCode, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

export interface IdFile extends Disposable {
  write(id: string): void
  /** The container is there to stay: so is the file. */
  keep(): void
}

/** Throws a usage error for a file that is there, as docker does, and what open(2) says. */
export function openIdFile(path: string | undefined): IdFile {
  if (path === undefined) return { write: () => {}, keep: () => {}, [Symbol.dispose]: () => {} }
  const fd = openNew(path)
  let isKept = false
  return {
    write: id => void writeSync(fd, id),
    keep: () => {
      isKept = true
    },
    [Symbol.dispose]: () => {
      closeSync(fd)
      if (!isKept) rmSync(path, { force: true })
    },
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o644)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    throw usageError(
      `Cannot write the id to "${printable(path)}": the file is there`,
      'Another container may have written it: remove it, or use another file',
    )
  }
}
