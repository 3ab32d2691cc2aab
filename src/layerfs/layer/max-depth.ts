/** How many directories may be in each other: a walk holds descriptors for each. */
import { OciError } from '../../oci/errors.ts'
import { defaultBudgets } from '../tar/entry.ts'
import { type SafePath, shown } from './path-bytes.ts'

/** As of an archive: what is deeper could be stored in a layer, and never be unpacked. */
export const maxDepth = defaultBudgets.depth

export function tooDeep(path: SafePath): OciError {
  const start = shown(path).slice(0, 60)
  return new OciError(
    'too-large',
    `Cannot go into "${start}…": more than ${maxDepth} directories are in each other`,
    { hint: 'remove them in the step that makes them' },
  )
}
