/** What applying a layer takes, and gives. */
import type { OpenQuestions } from './layer-format.ts'
import type { LayerBlob, ReadLayer } from './read-layer.ts'

export interface ExtractRequest extends LayerBlob {
  /** An empty directory that nobody else uses. */
  readonly target: string
}

export interface ApplyRequest extends ExtractRequest {
  /** Directories of the layers below, **top first**; settled, that is: applied. */
  readonly lower: readonly string[]
}

export interface AppliedLayer extends ReadLayer {
  readonly entries: number
}

export interface ExtractedLayer extends AppliedLayer {
  readonly questions: OpenQuestions
}
