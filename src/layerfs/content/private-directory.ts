/** Directories of the store, private to its owner. */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode } from '../../oci/errors.ts'

/**
 * Makes `path` and what leads to it, where missing: mode 0700. Throws the system's error, which the
 * recursive `mkdir` of Node turns into ENOENT when a disk fails.
 */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error
    makePrivateDirectory(dirname(path))
    makePrivateDirectory(path)
  }
}
