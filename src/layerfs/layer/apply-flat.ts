/**
 * Flat extraction: layers one after the other into one plain directory, which then looks as the
 * image does in a container. What hides something removes it.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { openFlags } from '../native/syscalls.ts'
import { defaultBudgets } from '../tar/entry.ts'
import type { AppliedLayer, ExtractRequest } from './apply-request.ts'
import { Extraction } from './extraction.ts'
import { FlatFormat, RememberedPaths } from './flat-format.ts'
import { assertNoDeadLinks } from './link-entry.ts'
import { overlayFormat } from './overlay-format.ts'
import { readLayer } from './read-layer.ts'

/**
 * Applies the layer over what `target` holds; paths in it are resolved inside it, links included.
 * Throws as `applyLayer` does; what was written until then stays.
 */
export async function applyFlat(request: ExtractRequest): Promise<AppliedLayer> {
  const flags = openFlags.path | constants.O_DIRECTORY | openFlags.closeOnExec
  const rootFd = openSync(request.target, flags)
  try {
    const own = new RememberedPaths()
    const format = new FlatFormat({ rootFd, kind: 'plain', overlay: overlayFormat(), own })
    const budgets = { ...defaultBudgets, ...request.budgets }
    using extraction = new Extraction({ rootFd, format, budgets })
    const read = await readLayer(request, extraction)
    assertNoDeadLinks(extraction.finish())
    return { ...read, entries: extraction.entries }
  } finally {
    closeSync(rootFd)
  }
}
