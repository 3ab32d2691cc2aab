/**
 * The steps of applying a layer as plain requests and replies, which cross between threads.
 */
import { type ErrorCode, OciError } from '../../oci/errors.ts'
import { extractLayer, replayLayer } from './apply.ts'
import { applyFlat } from './apply-flat.ts'
import type { AppliedLayer, ApplyRequest, ExtractedLayer, ExtractRequest } from './apply-request.ts'

export type UnpackJob =
  | { readonly kind: 'extract'; readonly request: ExtractRequest }
  | { readonly kind: 'replay'; readonly request: ApplyRequest }
  | { readonly kind: 'flat'; readonly request: ExtractRequest }

export type UnpackReply =
  | { readonly kind: 'done'; readonly result: ExtractedLayer | AppliedLayer }
  | { readonly kind: 'failed'; readonly failure: Failure }

/** An error as data: the class of an error does not survive the way between threads. */
interface Failure {
  readonly message: string
  readonly code?: ErrorCode
  readonly hint?: string
  readonly cause?: unknown
}

export async function runUnpackJob(job: UnpackJob): Promise<UnpackReply> {
  try {
    return { kind: 'done', result: await run(job) }
  } catch (error) {
    return { kind: 'failed', failure: failureOf(error) }
  }
}

function run(job: UnpackJob): Promise<ExtractedLayer | AppliedLayer> {
  switch (job.kind) {
    case 'extract':
      return extractLayer(job.request)
    case 'replay':
      return replayLayer(job.request)
    case 'flat':
      return applyFlat(job.request)
  }
}

function failureOf(error: unknown): Failure {
  if (!(error instanceof OciError)) {
    return { message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  const { message, code, hint, cause } = error
  return {
    message,
    code,
    ...(hint === undefined ? {} : { hint }),
    ...(cause instanceof Error ? { cause: cause.message } : {}),
  }
}

export function errorOf({ message, code, hint, cause }: Failure): Error {
  if (code === undefined) return new Error(message)
  return new OciError(code, message, { cause, ...(hint === undefined ? {} : { hint }) })
}
