/**
 * The steps of applying a layer, and hashing one, as plain requests and replies, which cross between threads.
 */
import { extractLayer, replayLayer } from './apply.ts'
import { applyFlat } from './apply-flat.ts'
import type { AppliedLayer, ApplyRequest, ExtractedLayer, ExtractRequest } from './apply-request.ts'
import { type DiffRequest, type HashedDiff, hashDiff } from './diff.ts'
import { type Failure, failureOf } from './thread-failure.ts'

export type UnpackJob =
  | { readonly kind: 'extract'; readonly request: ExtractRequest }
  | { readonly kind: 'replay'; readonly request: ApplyRequest }
  | { readonly kind: 'flat'; readonly request: ExtractRequest }
  | { readonly kind: 'hash'; readonly request: DiffRequest; readonly stop: Int32Array }

export type UnpackResult = ExtractedLayer | AppliedLayer | HashedDiff

export type UnpackReply =
  | { readonly kind: 'done'; readonly result: UnpackResult }
  | { readonly kind: 'failed'; readonly failure: Failure }

export async function runUnpackJob(job: UnpackJob): Promise<UnpackReply> {
  try {
    return { kind: 'done', result: await run(job) }
  } catch (error) {
    return { kind: 'failed', failure: failureOf(error) }
  }
}

function run(job: UnpackJob): Promise<UnpackResult> {
  switch (job.kind) {
    case 'extract':
      return extractLayer(job.request)
    case 'replay':
      return replayLayer(job.request)
    case 'flat':
      return applyFlat(job.request)
    case 'hash':
      return hashDiff(job.request, job.stop)
  }
}
