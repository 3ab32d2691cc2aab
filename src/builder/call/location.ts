import type { Span } from '../dockerfile/span.ts'

/**
 * A place in a source as BuildKit's JSON has it: a range for each line; lines from 1, characters
 * always 0 and left out.
 */
export interface Location {
  readonly ranges: readonly { readonly start: Position; readonly end: Position }[]
}

interface Position {
  readonly line: number
}

export function locationOf({ startLine, endLine }: Span): Location {
  const lines = Array.from({ length: endLine - startLine + 1 }, (_, index) => startLine + index)
  return { ranges: lines.map(line => ({ start: { line }, end: { line } })) }
}
