/**
 * Looks over JSON bytes without building anything: how deep they nest, and which members the
 * outermost object gives, each time it gives them. What is not JSON is left to the parser.
 */

export interface JsonOutline {
  /** Stops counting one past the limit. */
  readonly depth: number
  /** Names of the outermost object's members, in order, repeated when they are. */
  readonly members: readonly string[]
}

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const opening = new Set([0x5b, 0x7b])
const closing = new Set([0x5d, 0x7d])
const blank = new Set([0x20, 0x09, 0x0a, 0x0d])

/** Stops at the first level deeper than `maxDepth`. */
export function scanJson(bytes: Uint8Array, maxDepth: number): JsonOutline {
  const members: string[] = []
  let depth = 0
  let deepest = 0
  for (let at = 0; at < bytes.length && deepest <= maxDepth; at++) {
    const byte = bytes[at] as number
    if (byte === quote) {
      const end = endOfString(bytes, at)
      if (depth === 1 && isFollowedByColon(bytes, end)) members.push(nameFrom(bytes, at, end))
      at = end
    } else if (opening.has(byte)) {
      depth++
      deepest = Math.max(deepest, depth)
    } else if (closing.has(byte)) {
      depth--
    }
  }
  return { depth: deepest, members }
}

/** Where the string that opens at `start` closes; the end of the bytes when it does not. */
function endOfString(bytes: Uint8Array, start: number): number {
  let at = start + 1
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1
  return at
}

function isFollowedByColon(bytes: Uint8Array, end: number): boolean {
  let at = end + 1
  while (blank.has(bytes[at] ?? 0)) at++
  return bytes[at] === colon
}

/** The name as parsers see it: `"\u006dediaType"` is `mediaType`. */
function nameFrom(bytes: Uint8Array, start: number, end: number): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end + 1 - start).toString('utf8')
  try {
    return String(JSON.parse(text))
  } catch {
    return text
  }
}
