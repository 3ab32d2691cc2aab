/**
 * .dockerignore (X04–X06): which paths of the build context are left out.
 *
 * Patterns are tried in order and the last that matches decides. A pattern that matches a directory
 * leaves out everything below it, until a later `!` pattern takes something back in.
 */
import { cleanPath } from './clean-path.ts'
import { DockerfileError } from './error.ts'
import { compileDeepGlob, couldMatchBelow, type Glob, globMatches } from './glob.ts'
import { trimSpace } from './space.ts'

export interface IgnoreMatcher {
  /** Whether the path is left out. Relative to the context, cleaned, `/` between components. */
  match(path: string): boolean
  /** Whether the directory and all below it is left out, so that a walk need not enter it. */
  prunes(directory: string): boolean
  /** In order, cleaned; a cache key for what the context is. */
  readonly patterns: readonly string[]
  /** Whether any pattern takes something back in. */
  readonly hasExceptions: boolean
}

interface Rule {
  readonly exception: boolean
  readonly glob: Glob
}

/** Throws DockerfileError for a pattern that is none, quoting it. */
export function parseIgnore(text: string): IgnoreMatcher {
  const lines = text.replace(/^\ufeff/, '').split('\n')
  return ignoreMatcher(lines.flatMap(patternOf))
}

/** The matcher of patterns given one by one: `COPY --exclude`. Throws DockerfileError. */
export function ignoreMatcher(patterns: readonly string[]): IgnoreMatcher {
  const rules = patterns.flatMap(ruleOf)
  const chain: Chain = { directory: '', matched: rules.map(() => false) }
  return {
    match: path => isIgnored(rules, chain, path),
    prunes: directory =>
      isIgnored(rules, chain, directory) &&
      !rules.some(({ exception, glob }) => exception && couldMatchBelow(glob, directory)),
    patterns: rules.map(({ exception, glob }) => (exception ? `!${glob.pattern}` : glob.pattern)),
    hasExceptions: rules.some(rule => rule.exception),
  }
}

/** A line's pattern: blanks trimmed, path cleaned, one leading slash dropped; comments have none. */
function patternOf(line: string): string[] {
  const text = trimSpace(line)
  if (line.startsWith('#') || text === '') return []
  const exception = text.startsWith('!')
  const path = exception ? trimSpace(text.slice(1)) : text
  if (path === '') return ['!']
  const clean = cleanPath(path)
  const relative = clean.length > 1 && clean.startsWith('/') ? clean.slice(1) : clean
  return [exception ? `!${relative}` : relative]
}

function ruleOf(pattern: string): Rule[] {
  const text = trimSpace(pattern)
  if (text === '') return []
  const clean = cleanPath(text)
  if (clean === '!') throw new DockerfileError('illegal exclusion pattern: "!"')
  const exception = clean.startsWith('!')
  return [{ exception, glob: compileDeepGlob(exception ? clean.slice(1) : clean) }]
}

/** Which rules match the directory that was asked about last, or one above it. */
interface Chain {
  directory: string
  matched: readonly boolean[]
}

function isIgnored(rules: readonly Rule[], chain: Chain, path: string): boolean {
  const matched = matchesOf(rules, chain, path)
  return rules.reduce(
    (ignored, { exception }, index) => (matched[index] === true ? !exception : ignored),
    false,
  )
}

/** Neighbours share their directory, and a walk asks for neighbours: its matches are kept. */
function matchesOf(rules: readonly Rule[], chain: Chain, path: string): readonly boolean[] {
  const slash = path.lastIndexOf('/')
  const parent = slash === -1 ? '' : path.slice(0, slash)
  if (parent !== chain.directory) {
    chain.matched = prefixesOf(parent).reduce<readonly boolean[]>(
      (matched, prefix) => addMatches(rules, matched, prefix),
      rules.map(() => false),
    )
    chain.directory = parent
  }
  return addMatches(rules, chain.matched, path)
}

function addMatches(
  rules: readonly Rule[],
  matched: readonly boolean[],
  path: string,
): readonly boolean[] {
  return rules.map(({ glob }, index) => matched[index] === true || globMatches(glob, path))
}

/** `a/b/c` → `a`, `a/b`, `a/b/c`. */
function prefixesOf(path: string): string[] {
  if (path === '') return []
  const prefixes: string[] = []
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    prefixes.push(path.slice(0, slash))
  }
  return [...prefixes, path]
}
