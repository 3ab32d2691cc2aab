/**
 * What a build tells while it runs. A vertex is one line of work as BuildKit numbers them: loading
 * the Dockerfile, a step, an export. Whoever renders decides about numbers, time and width.
 *
 *   started ──(miss | log | status | warning)*──► done | failed | canceled
 */

import type { ChainId } from '../oci/digest.ts'
import type { Miss } from './explain/miss.ts'
import type { StepSource } from './solve/graph.ts'

export type BuildEvent =
  | {
      readonly kind: 'started'
      readonly id: VertexId
      /** `[stage-1 2/5] RUN make`, `[internal] load build context`. */
      readonly name: string
      /** Of a step of the Dockerfile. */
      readonly source?: StepSource
    }
  /** Before a step runs: why no earlier result could be used. */
  | { readonly kind: 'miss'; readonly id: VertexId; readonly miss: Miss }
  | {
      readonly kind: 'log'
      readonly id: VertexId
      readonly stream: 'stdout' | 'stderr'
      /** As the process wrote them: any bytes, lines cut anywhere. */
      readonly bytes: Uint8Array
    }
  | {
      readonly kind: 'status'
      readonly id: VertexId
      /** What moves: a layer's digest, `exporting layers`. */
      readonly item: string
      /** Bytes. */
      readonly current: number
      readonly total?: number
      readonly isDone: boolean
    }
  | {
      readonly kind: 'done'
      readonly id: VertexId
      /** `cached`: an earlier result was used. */
      readonly how: 'cached' | 'worked'
      /** The filesystem that a step made. */
      readonly chain?: ChainId
      /** The imported cache that an earlier result is of. */
      readonly from?: string
    }
  | { readonly kind: 'failed'; readonly id: VertexId; readonly message: string }
  | { readonly kind: 'canceled'; readonly id: VertexId }
  | {
      readonly kind: 'warning'
      /** Absent: of the build as a whole. */
      readonly id?: VertexId
      readonly message: string
      /** Of a build check: which rule, and the lines it is about. */
      readonly check?: { readonly url?: string; readonly detail: string; readonly lines: Lines }
    }

/** The first and the last, from 1. */
export type Lines = readonly [number, number]

/** Equal for all events of one vertex; no other meaning. */
export type VertexId = string

export type EmitBuildEvent = (event: BuildEvent) => void
