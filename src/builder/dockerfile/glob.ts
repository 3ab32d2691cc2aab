/**
 * Wildcards: Go's `filepath.Match` (C08), and the same with `**` for .dockerignore and `--parents`.
 *
 * `*` and `?` never match `/`, nor does a class. There are no braces. A match walks the text once
 * and keeps the set of places in the pattern it could be at, so `*a*a*a*b` costs no more than its
 * length times the text's.
 */
import { DockerfileError } from './error.ts'
import { goQuote } from './go-quote.ts'

type Token =
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly Range[] }
  | { readonly kind: 'star' }
  /** `**` with what it takes: any number of whole directories, none included. */
  | { readonly kind: 'directories' }
  /** `**` at the end: everything. */
  | { readonly kind: 'everything' }

interface Range {
  readonly low: string
  readonly high: string
}

export interface Glob {
  readonly pattern: string
  readonly tokens: readonly Token[]
  /** The same as a regular expression, where that cannot be slow. */
  readonly regExp: RegExp | undefined
}

/** Wildcards of unbounded length up to which a regular expression is safe, and much faster. */
const maxRegExpStars = 2
/** The longest pattern that becomes one: engines refuse very large ones, when they are first used. */
const maxRegExpTokens = 1000

/** Throws DockerfileError when the pattern is malformed, quoting it. */
export function compileGlob(pattern: string): Glob {
  return globOf(pattern, tokensOf(pattern, 'plain'))
}

/** As {@link compileGlob}; `**` is any number of directories. */
export function compileDeepGlob(pattern: string): Glob {
  return globOf(pattern, tokensOf(pattern, 'deep'))
}

function globOf(pattern: string, tokens: readonly Token[]): Glob {
  const stars = tokens.filter(({ kind }) => kind !== 'char' && kind !== 'any' && kind !== 'class')
  const isSafe = stars.length <= maxRegExpStars && tokens.length <= maxRegExpTokens
  if (!isSafe) return { pattern, tokens, regExp: undefined }
  return { pattern, tokens, regExp: new RegExp(`^${tokens.map(sourceOf).join('')}$`, 'su') }
}

function sourceOf(token: Token): string {
  switch (token.kind) {
    case 'char':
      return escapedSource(token.char)
    case 'any':
      return '[^/]'
    case 'star':
      return '[^/]*'
    case 'directories':
      return '(?:.*/)?'
    case 'everything':
      return '.*'
    case 'class': {
      const ranges = token.ranges
        .filter(({ low, high }) => low <= high)
        .map(({ low, high }) => `${escapedSource(low)}-${escapedSource(high)}`)
      return `(?!/)[${token.negated ? '^' : ''}${ranges.join('')}]`
    }
  }
}

function escapedSource(char: string): string {
  return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`
}

/** Whether the whole of `text` matches `pattern`. Throws DockerfileError for a malformed pattern. */
export function matchGlob(pattern: string, text: string): boolean {
  return globMatches(compileGlob(pattern), text)
}

/** As {@link matchGlob}, with `**`. */
export function matchDeepGlob(pattern: string, text: string): boolean {
  return globMatches(compileDeepGlob(pattern), text)
}

/** Whether a path is taken literally: it has no wildcard that is not escaped. */
export function hasWildcard(path: string): boolean {
  return /^(?:[^*?[\\]|\\.)*[*?[]/s.test(path)
}

export function globMatches(glob: Glob, text: string): boolean {
  if (glob.regExp !== undefined) return glob.regExp.test(text)
  return statesAfter(glob, text).has(glob.tokens.length)
}

/**
 * Whether a match could lie below the directory `directory`: false lets a walk skip it. Errs on
 * the side of true.
 */
export function couldMatchBelow(glob: Glob, directory: string): boolean {
  for (const state of statesAfter(glob, `${directory}/`)) {
    if (state < glob.tokens.length) return true
  }
  return false
}

/** The places in the pattern that `text` can lead to; the place after the last token is a match. */
function statesAfter({ tokens }: Glob, text: string): ReadonlySet<number> {
  let states = new Set<number>()
  enter(tokens, states, 0)
  for (const char of text) {
    const next = new Set<number>()
    for (const state of states) advance(tokens, state, { char, next })
    if (next.size === 0) return next
    states = next
  }
  return states
}

/**
 * Adds `state` and those it reaches without a character. Behind one that is there already they are
 * too, unless it is a `**` + `/` that was left in the middle of a component.
 */
function enter(tokens: readonly Token[], states: Set<number>, state: number): void {
  for (let at = state; ; at++) {
    const kind = tokens[at]?.kind
    if (kind !== 'directories' && states.has(at)) return
    states.add(at)
    if (kind !== 'star' && kind !== 'directories' && kind !== 'everything') return
  }
}

function advance(
  tokens: readonly Token[],
  state: number,
  { char, next }: { readonly char: string; readonly next: Set<number> },
): void {
  const token = tokens[state]
  if (token === undefined) return
  switch (token.kind) {
    case 'directories':
      // Inside `**/` it ends only where a component ends, so its way out is not entered here.
      next.add(state)
      if (char === '/') enter(tokens, next, state + 1)
      return
    case 'everything':
      enter(tokens, next, state)
      return
    case 'star':
      if (char !== '/') enter(tokens, next, state)
      return
    default:
      if (matchesChar(token, char)) enter(tokens, next, state + 1)
  }
}

function matchesChar(
  token: Extract<Token, { kind: 'char' | 'any' | 'class' }>,
  char: string,
): boolean {
  if (token.kind === 'char') return token.char === char
  if (char === '/') return false
  if (token.kind === 'any') return true
  return token.ranges.some(({ low, high }) => low <= char && char <= high) !== token.negated
}

interface Parsing {
  readonly pattern: string
  readonly chars: readonly string[]
  at: number
}

/** Runs of one star are one: the number of states that follow each other for free stays small. */
function tokensOf(pattern: string, stars: 'plain' | 'deep'): Token[] {
  const parsing: Parsing = { pattern, chars: [...pattern], at: 0 }
  const tokens: Token[] = []
  while (parsing.at < parsing.chars.length) {
    const token = nextToken(parsing, stars)
    const isFree = token.kind === 'star' || token.kind === 'directories'
    const repeats = isFree && tokens.at(-1)?.kind === token.kind
    if (!repeats) tokens.push(token)
  }
  return tokens
}

function nextToken(parsing: Parsing, stars: 'plain' | 'deep'): Token {
  const char = parsing.chars[parsing.at] ?? ''
  parsing.at++
  switch (char) {
    case '*':
      return stars === 'deep' && parsing.chars[parsing.at] === '*'
        ? deepStar(parsing)
        : { kind: 'star' }
    case '?':
      return { kind: 'any' }
    case '[':
      return classToken(parsing)
    case '\\':
      return { kind: 'char', char: takeChar(parsing) }
    default:
      return { kind: 'char', char }
  }
}

/** The second star and a `/` behind it belong to `**`. */
function deepStar(parsing: Parsing): Token {
  parsing.at++
  if (parsing.chars[parsing.at] === '/') parsing.at++
  const isEverything = parsing.at === parsing.chars.length || isLeadingSuffix(parsing)
  return { kind: isEverything ? 'everything' : 'directories' }
}

/** `**.log` at the start, without further wildcards, is whatever ends so: the others agree. */
function isLeadingSuffix({ pattern, at }: Parsing): boolean {
  return at === 2 && !/[*?[\]\\]/.test(pattern.slice(2))
}

function classToken(parsing: Parsing): Token {
  const negated = parsing.chars[parsing.at] === '^'
  if (negated) parsing.at++
  const ranges: Range[] = []
  while (parsing.chars[parsing.at] !== ']' || ranges.length === 0) {
    const low = classChar(parsing)
    const isRange = parsing.chars[parsing.at] === '-'
    if (isRange) parsing.at++
    ranges.push({ low, high: isRange ? classChar(parsing) : low })
  }
  parsing.at++
  return { kind: 'class', negated, ranges }
}

function classChar(parsing: Parsing): string {
  const char = takeChar(parsing)
  if (char === '-' || char === ']') throw malformed(parsing)
  return char === '\\' ? takeChar(parsing) : char
}

function takeChar(parsing: Parsing): string {
  const char = parsing.chars[parsing.at]
  if (char === undefined) throw malformed(parsing)
  parsing.at++
  return char
}

function malformed({ pattern }: Parsing): DockerfileError {
  return new DockerfileError(`syntax error in pattern: ${goQuote(pattern)}`)
}
