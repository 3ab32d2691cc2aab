/**
 * Applying a layer: its blob becomes a directory that overlayfs can lay over others.
 *
 *   extractLayer   the tar alone, in its own directory          needs nothing below
 *   settleLayer    open questions, answered by the layers below needs them settled
 *   replayLayer    the rare rest: through an overlay on them    needs them settled
 *
 * Spec: image-spec layer.md, Applying Changesets.
 */
import { closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs'
import { openFlags } from '../native/syscalls.ts'
import { defaultBudgets } from '../tar/entry.ts'
import { applyFlat } from './apply-flat.ts'
import type { AppliedLayer, ApplyRequest, ExtractedLayer, ExtractRequest } from './apply-request.ts'
import { copiedTree } from './copied-tree.ts'
import { openMount } from './detached-mount.ts'
import { Extraction } from './extraction.ts'
import { FlatFormat, RememberedPaths } from './flat-format.ts'
import { LayerFormat } from './layer-format.ts'
import { assertNoDeadLinks } from './link-entry.ts'
import { overlayFormat } from './overlay-format.ts'
import { overlayUse } from './overlay-use.ts'
import { readLayer } from './read-layer.ts'
import { recordChanges } from './record-changes.ts'
import { emptyDirectory } from './remove-tree.ts'
import { inheritRoot, settleLayer } from './settle-layer.ts'

/**
 * Makes `target` the layer that `blob` holds, to be laid over `lower`.
 *
 * Throws `digest-mismatch` (blob, its size, or the tar in it), `invalid`, `too-large`,
 * `unsupported`, or `unavailable` when the machine is in trouble. After a throw `target` holds
 * rubbish, which the caller removes; nothing outside it was touched but `target` + ".work".
 */
export async function applyLayer(request: ApplyRequest): Promise<AppliedLayer> {
  const { questions, ...applied } = await extractLayer(request)
  if (settleLayer(request, questions) === 'settled') return applied
  return replayLayer(request)
}

/** The first step of {@link applyLayer}, with the same errors; independent of other layers. */
export async function extractLayer(request: ExtractRequest): Promise<ExtractedLayer> {
  const rootFd = openTarget(request.target)
  try {
    const format = new LayerFormat(rootFd, overlayFormat())
    const budgets = { ...defaultBudgets, ...request.budgets }
    using extraction = new Extraction({ rootFd, format, budgets })
    const read = await readLayer(request, extraction)
    const links = extraction.finish()
    // Where a link went to a later entry, a lower layer may have had the file it meant.
    if (extraction.hasForwardLinks || links.length > 0) format.requireMergedView()
    const questions = format.questions({
      isRootImplied: !extraction.hasRootEntry,
      deadLinks: links.map(({ path, target }) => ({ path, target })),
    })
    return { ...read, entries: extraction.entries, questions }
  } finally {
    closeSync(rootFd)
  }
}

/**
 * Applies the layer through an overlay on `lower`, where its entries see what flat extraction
 * would see and the kernel records the difference in `target`. Errors as {@link applyLayer}.
 */
export async function replayLayer(request: ApplyRequest): Promise<AppliedLayer> {
  const { target, lower } = request
  emptyTarget(target)
  inheritRoot({ target, lower })
  if (overlayUse() === 'copy') return replayCopied(request)
  const work = `${target}.work`
  try {
    rmSync(work, { recursive: true, force: true })
    mkdirSync(work, { mode: 0o700 })
    return await extractMerged(request, work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function emptyTarget(target: string): void {
  const fd = openTarget(target)
  try {
    emptyDirectory(fd, '.')
  } finally {
    closeSync(fd)
  }
}

/** Where there is no overlay: into a copy of the layers below, whose changes become the layer. */
async function replayCopied(request: ApplyRequest): Promise<AppliedLayer> {
  const { target: upper, lower } = request
  const tree = copiedTree({ kind: 'overlay', lower, upper })
  const applied = await applyFlat({ ...request, target: tree })
  recordChanges({ upper, lower })
  return applied
}

async function extractMerged(request: ApplyRequest, work: string): Promise<AppliedLayer> {
  const { lower, target } = request
  const rootFd = openMount({ kind: 'overlay', lower, upper: target, work })
  try {
    const overlay = overlayFormat()
    const own = new RememberedPaths()
    const format = new FlatFormat({ rootFd, kind: 'overlay', overlay, own })
    const budgets = { ...defaultBudgets, ...request.budgets }
    using extraction = new Extraction({ rootFd, format, budgets })
    const read = await readLayer(request, extraction)
    assertNoDeadLinks(extraction.finish())
    return { ...read, entries: extraction.entries }
  } finally {
    closeSync(rootFd)
  }
}

function openTarget(target: string): number {
  return openSync(target, openFlags.path | constants.O_DIRECTORY | openFlags.closeOnExec)
}
