/** How many terminal cells a text takes: combining marks none, East Asian and emoji two. */

const zeroWidth = /^[\p{Mn}\p{Me}\p{Cf}]$/u
const doubleWidth =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]$/u
const narrowOnly = /^[\u0020-\u007e]*$/

/** `text` without control characters. */
export function displayWidth(text: string): number {
  if (narrowOnly.test(text)) return text.length
  let width = 0
  for (const char of text) width += charWidth(char)
  return width
}

/** Cut to `width` cells, the last of them `…` when something was cut. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  if (width <= 0) return ''
  let cut = ''
  let used = 0
  for (const char of text) {
    used += charWidth(char)
    if (used > width - 1) break
    cut += char
  }
  return `${cut}…`
}

/** Cut or filled with spaces to exactly `width` cells. */
export function padTo(text: string, width: number): string {
  const cut = truncate(text, width)
  return cut + ' '.repeat(Math.max(0, width - displayWidth(cut)))
}

function charWidth(char: string): number {
  if (zeroWidth.test(char)) return 0
  return doubleWidth.test(char) ? 2 : 1
}
