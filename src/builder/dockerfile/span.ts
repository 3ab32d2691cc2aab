/**
 * Span: which lines of a Dockerfile something came from, and where they lie in its text.
 */
export interface Span {
  /** 1-based, inclusive. */
  readonly startLine: number
  readonly endLine: number
  /** Offsets into the source text: of the first line's first character, past the last line. */
  readonly start: number
  readonly end: number
}
