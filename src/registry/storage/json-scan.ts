/**
 * Looks over the JSON bytes of a manifest without building anything: how deep they nest, and which
 * members the document and its descriptors give, each time they give them. What is not JSON is left to
 * the parser.
 */

/** A descriptor: an object that is a member of the document, or lies in an array that is one. */
export type ScannedObject = 'document' | 'descriptor'

interface Level {
  readonly isObject: boolean
  readonly kind: ScannedObject | undefined
  /** In order, repeated when they are. */
  readonly members: string[]
}

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const brace = 0x7b
const opening = new Set([0x5b, brace])
const closing = new Set([0x5d, 0x7d])
const blank = new Set([0x20, 0x09, 0x0a, 0x0d])

/**
 * Tells `judge` of the members of each such object as it closes, and returns the depth; stops at the
 * first level deeper than `maxDepth`.
 */
export function scanJson(
  bytes: Uint8Array,
  maxDepth: number,
  judge: (kind: ScannedObject, members: readonly string[]) => void,
): number {
  const levels: Level[] = []
  let deepest = 0
  for (let at = 0; at < bytes.length && deepest <= maxDepth; at++) {
    const byte = bytes[at] as number
    if (byte === quote) {
      const end = endOfString(bytes, at)
      noteMember(levels.at(-1), bytes, { start: at, end })
      at = end
    } else if (opening.has(byte)) {
      const isObject = byte === brace
      levels.push({ isObject, kind: isObject ? kindWithin(levels) : undefined, members: [] })
      deepest = Math.max(deepest, levels.length)
    } else if (closing.has(byte)) {
      const level = levels.pop()
      if (level?.kind !== undefined) judge(level.kind, level.members)
    }
  }
  return deepest
}

function kindWithin(levels: readonly Level[]): ScannedObject | undefined {
  const [outermost, holder] = levels
  if (outermost === undefined) return 'document'
  if (!outermost.isObject || levels.length > 2) return undefined
  return holder?.isObject === true ? undefined : 'descriptor'
}

function noteMember(
  level: Level | undefined,
  bytes: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
): void {
  if (level?.kind === undefined || !isFollowedByColon(bytes, end)) return
  level.members.push(nameFrom(bytes, start, end))
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
  if (!text.includes('\\')) return text.slice(1, -1)
  try {
    return String(JSON.parse(text))
  } catch {
    return text
  }
}
