/** The .dockerignore of a directory, which somebody else may have filled: a FIFO is not waited for. */
import { statSync } from 'node:fs'
import { ignoreMissing } from '../../layerfs/content/atomic-file.ts'
import { readRegularFile } from '../../layerfs/content/regular-file.ts'
import { maxDockerfile } from './context-directory.ts'

/** `undefined` when it is not there. Throws `invalid` for what is no file, and `too-large`. */
export async function readIgnoreFile(path: string): Promise<string | undefined> {
  // Nearly always, and told at once.
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  const bytes = await readRegularFile(path, maxDockerfile).catch(ignoreMissing)
  return bytes?.toString('utf8')
}
