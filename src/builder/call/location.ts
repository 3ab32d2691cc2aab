import type { Span } from '../dockerfile/span.ts'

/** A place in a source as BuildKit's JSON has it; lines from 1, characters always 0 and left out. */
export interface Location {
  readonly ranges: readonly { readonly start: Position; readonly end: Position }[]
}

interface Position {
  readonly line: number
}

export function locationOf({ startLine, endLine }: Span): Location {
  return { ranges: [{ start: { line: startLine }, end: { line: endLine } }] }
}
