/**
 * The patterns of `${v#p}`, `${v%p}` and `${v/p/r}` (V04, V05): `*`, `?` and `\`, no brackets.
 *
 * A star is matched by trying the segments between stars one after another, never by backtracking
 * over combinations; the work is counted all the same, since value and pattern can both be long.
 */
import { DockerfileError } from './error.ts'

/** Character comparisons one substitution may make. */
const maxWork = 50_000_000

/** `any` is one character except a line break; a segment matches as many characters as it has. */
type Token = { readonly kind: 'any' } | { readonly kind: 'char'; readonly char: string }

interface Glob {
  /** The parts between the stars: n stars make n + 1 segments. */
  readonly segments: readonly (readonly Token[])[]
}

interface Matching {
  readonly value: readonly string[]
  work: number
}

/** `${v#word}`, `${v##word}`, `${v%word}`, `${v%%word}`: `word` begins with the doubled sign. */
export function trimPattern(trim: { value: string; word: string; side: '#' | '%' }): string {
  const { value, word, side } = trim
  const greedy = word.startsWith(side)
  const glob = parsePattern(greedy ? word.slice(1) : word)
  const chars = [...value]
  if (side === '#') {
    const end = matchAt({ value: chars, work: 0 }, glob, { start: 0, greedy })
    return end === undefined ? value : chars.slice(end).join('')
  }
  const reversed = chars.toReversed()
  const end = matchAt({ value: reversed, work: 0 }, reverseGlob(glob), { start: 0, greedy })
  return end === undefined ? value : chars.slice(0, chars.length - end).join('')
}

/** `${v/pattern/replacement}` and, with `all`, `${v//pattern/replacement}`: leftmost, longest. */
export function replacePattern(replace: {
  value: string
  pattern: string
  replacement: string
  all: boolean
}): string {
  const glob = parsePattern(replace.pattern)
  const matching: Matching = { value: [...replace.value], work: 0 }
  const { value } = matching
  let text = ''
  let lastEnd = -1
  let start = 0
  while (start <= value.length) {
    const end = matchAt(matching, glob, { start, greedy: true })
    if (end !== undefined && (end > start || start > lastEnd)) {
      text += replace.replacement
      if (!replace.all) return text + value.slice(end).join('')
      lastEnd = end
    }
    if (end !== undefined && end > start) {
      start = end
    } else {
      text += value[start] ?? ''
      start++
    }
  }
  return text
}

function parsePattern(pattern: string): Glob {
  const segments: Token[][] = [[]]
  const chars = [...pattern]
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? ''
    const segment = segments.at(-1) ?? []
    if (char === '*') segments.push([])
    else if (char === '?') segment.push({ kind: 'any' })
    else if (char !== '\\') segment.push({ kind: 'char', char })
    else if (!isDelimiter(chars[at + 1])) {
      at++
      segment.push({ kind: 'char', char: escapedChar(pattern, chars[at]) })
    }
  }
  return { segments }
}

/** `\}` and `\/` are escaped for the braces around the pattern, not for the pattern. */
function isDelimiter(char: string | undefined): boolean {
  return char === '}' || char === '/'
}

function escapedChar(pattern: string, char: string | undefined): string {
  if (char === '*' || char === '?' || char === '\\') return char
  throw new DockerfileError(
    `invalid pattern (${pattern}) in substitution: invalid escape '\\${char ?? '\ufffd'}'`,
  )
}

function reverseGlob(glob: Glob): Glob {
  return { segments: glob.segments.toReversed().map(segment => segment.toReversed()) }
}

/** Where a match that begins at `start` ends: the farthest end if greedy, else the nearest. */
function matchAt(
  matching: Matching,
  glob: Glob,
  options: { start: number; greedy: boolean },
): number | undefined {
  const [first = [], ...rest] = glob.segments
  if (!segmentAt(matching, first, options.start)) return undefined
  let at = options.start + first.length
  for (const [index, segment] of rest.entries()) {
    const isLast = index === rest.length - 1
    const found =
      isLast && options.greedy
        ? lastOccurrence(matching, segment, at)
        : firstOccurrence(matching, segment, at)
    if (found === undefined) return undefined
    at = found + segment.length
  }
  return at
}

function firstOccurrence(matching: Matching, segment: readonly Token[], from: number) {
  for (let at = from; at + segment.length <= matching.value.length; at++) {
    if (segmentAt(matching, segment, at)) return at
    if (matching.value[at] === '\n') return undefined
  }
  return undefined
}

/** The last place the segment occurs before the star would have to cross a line break. */
function lastOccurrence(matching: Matching, segment: readonly Token[], from: number) {
  const lineEnd = matching.value.indexOf('\n', from)
  const limit = lineEnd === -1 ? matching.value.length : lineEnd
  for (let at = Math.min(limit, matching.value.length - segment.length); at >= from; at--) {
    if (segmentAt(matching, segment, at)) return at
  }
  return undefined
}

function segmentAt(matching: Matching, segment: readonly Token[], start: number): boolean {
  if (start + segment.length > matching.value.length) return false
  return segment.every((token, index) => {
    matching.work++
    if (matching.work > maxWork) throw new DockerfileError('pattern takes too long to match')
    const char = matching.value[start + index]
    return token.kind === 'any' ? char !== '\n' : char === token.char
  })
}
