/**
 * Names by pattern: `*` is anything within a component, `**` anything, `?` one character.
 * Matched without backtracking over more than the name's length times the pattern's.
 */

/** Whether `name` matches `pattern` as a whole. */
export function matchesGlob(pattern: string, name: string): boolean {
  const tokens = pattern.match(/\*\*|[\s\S]/g) ?? []
  // Which positions of the name the tokens so far can end at.
  let reached = new Set([0])
  for (const token of tokens) reached = advance(token, reached, name)
  return reached.has(name.length)
}

function advance(token: string, from: ReadonlySet<number>, name: string): Set<number> {
  const reached = new Set<number>()
  for (const start of from) {
    // From a position that is reached already, so are those after it.
    for (let at = start; at <= name.length && !reached.has(at); at++) {
      const end = endOf(token, at, name)
      if (end !== undefined) reached.add(end)
      if (!repeats(token, at, name)) break
    }
  }
  return reached
}

/** Where one more step of the token that starts at `at` may end. */
function endOf(token: string, at: number, name: string): number | undefined {
  if (token === '*' || token === '**') return at
  const char = name[at]
  const isMatch = char !== undefined && (token === char || (token === '?' && char !== '/'))
  return isMatch ? at + 1 : undefined
}

/** Whether the token also takes the character at `at` and goes on. */
function repeats(token: string, at: number, name: string): boolean {
  return token === '**' || (token === '*' && name[at] !== '/')
}
