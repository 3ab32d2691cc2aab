/**
 * "did you mean …?": the nearest of the words that would have been right.
 */

/** Two edits at most: farther words are not what was meant. */
const maxDistance = 2

/** The option nearest to `word`, the first of equals; `undefined` when none is near or one is equal. */
export function nearest(word: string, options: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = maxDistance + 1
  for (const option of options) {
    if (option === word) return undefined
    const distance = editDistance(word, option)
    if (distance < bestDistance) {
      best = option
      bestDistance = distance
    }
  }
  return best
}

/** ` (did you mean X?)`, or nothing. */
export function didYouMean(word: string, options: Iterable<string>): string {
  const match = nearest(word, options)
  return match === undefined ? '' : ` (did you mean ${match}?)`
}

/** As {@link didYouMean}, whatever the case; the answer is in the case that was used. */
export function didYouMeanAnyCase(word: string, options: Iterable<string>): string {
  const lower = [...options].map(option => option.toLowerCase())
  const match = nearest(word.toLowerCase(), lower)
  if (match === undefined) return ''
  const shown = word === word.toUpperCase() ? match.toUpperCase() : match
  return ` (did you mean ${shown}?)`
}

/** Levenshtein distance, or more than {@link maxDistance} as soon as the lengths tell. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > maxDistance) return maxDistance + 1
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substituted = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      const inserted = (current[column - 1] ?? 0) + 1
      const deleted = (previous[column] ?? 0) + 1
      current.push(Math.min(substituted, inserted, deleted))
    }
    if (Math.min(...current) > maxDistance) return maxDistance + 1
    previous = current
  }
  return previous[b.length] ?? 0
}
