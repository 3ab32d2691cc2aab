/** Tables for people: upper-case heads, columns three spaces apart. */
import { displayWidth } from '../progress/display-width.ts'

/** The text ends with a line feed. The last column is not filled. `gap`: blanks between columns. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  gap = 3,
): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) =>
    Math.max(...all.map(row => displayWidth(row[column] ?? ''))),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - displayWidth(cell)))
      .join(' '.repeat(gap))
      .trimEnd()
  return all.map(row => `${line(row)}\n`).join('')
}
