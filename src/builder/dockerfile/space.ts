/**
 * White space as BuildKit sees it: Unicode's, plus NEL, without the byte order mark.
 *
 * Splitting an instruction into words uses a narrower set, in {@link splitWords}.
 */
const spaces = new Set(
  '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000',
)

export function isSpace(char: string): boolean {
  return spaces.has(char)
}

export function trimStart(text: string): string {
  let start = 0
  while (start < text.length && isSpace(text.charAt(start))) start++
  return text.slice(start)
}

export function trimSpace(text: string): string {
  let end = text.length
  while (end > 0 && isSpace(text.charAt(end - 1))) end--
  return trimStart(text.slice(0, end))
}

/** The text before the first blanks and the text after them; no blanks: no second part. */
export function cutAtSpace(text: string): [string, string?] {
  const match = /[\t\v\f\r ]+/.exec(text)
  if (match === null) return [text]
  return [text.slice(0, match.index), text.slice(match.index + match[0].length)]
}

/** Words between blanks, as of FROM, EXPOSE, COPY: no quotes, no escapes. */
export function splitWords(text: string): string[] {
  return text === '' ? [] : text.split(/[\t\v\f\r ]+/)
}
