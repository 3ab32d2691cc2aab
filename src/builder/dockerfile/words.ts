/**
 * Words with quotes and escapes, as ENV, LABEL and ARG take them, and the flags that come before
 * the rest of an instruction (L11, L16).
 */
import type { Escape } from './expand.ts'
import { cutAtSpace, isSpace, trimSpace } from './space.ts'

interface Scan {
  readonly text: string
  readonly escape: Escape
  at: number
}

/** Words of `text`; quotes and escapes stay in them, for expansion to remove. */
export function quotedWords(text: string, escapeChar: Escape): string[] {
  const scan: Scan = { text, escape: escapeChar, at: 0 }
  const words: string[] = []
  for (skipSpaces(scan); scan.at < text.length; skipSpaces(scan)) {
    const word = scanQuotedWord(scan)
    if (word !== '') words.push(word)
  }
  return words
}

function skipSpaces(scan: Scan): void {
  while (scan.at < scan.text.length && isSpace(scan.text.charAt(scan.at))) scan.at++
}

function scanQuotedWord(scan: Scan): string {
  let word = ''
  let quote = ''
  for (; scan.at < scan.text.length; scan.at++) {
    const char = scan.text.charAt(scan.at)
    if (quote === '' && isSpace(char)) return word
    if (char === scan.escape && quote !== "'") {
      // An escape at the very end is dropped; otherwise it stays, with what it escapes.
      if (scan.at + 1 === scan.text.length) continue
      scan.at++
      word += char + scan.text.charAt(scan.at)
      continue
    }
    quote = quoteAfter(quote, char)
    word += char
  }
  return word
}

/** The quote that is open after `char`. */
function quoteAfter(quote: string, char: string): string {
  if (quote === char) return ''
  if (quote === '' && (char === '"' || char === "'")) return char
  return quote
}

export interface SplitInstruction {
  readonly word: string
  /** `--name=value`, quotes and escapes removed. */
  readonly flags: readonly string[]
  readonly rest: string
}

/** The instruction word, the flags after it, and the rest; flags end at `--` or any other word. */
export function splitInstruction(line: string, escapeChar: Escape): SplitInstruction {
  const [word, after] = cutAtSpace(trimSpace(line))
  if (after === undefined) return { word, flags: [], rest: '' }
  const { flags, rest } = splitFlags(after, escapeChar)
  return { word, flags, rest: trimSpace(rest) }
}

function splitFlags(text: string, escapeChar: Escape): { flags: string[]; rest: string } {
  const scan: Scan = { text, escape: escapeChar, at: 0 }
  const flags: string[] = []
  for (skipSpaces(scan); scan.at < text.length; skipSpaces(scan)) {
    if (!text.startsWith('--', scan.at)) return { flags, rest: text.slice(scan.at) }
    const flag = scanFlag(scan)
    if (flag === '--') return { flags, rest: text.slice(scan.at) }
    if (flag !== '') flags.push(flag)
  }
  return { flags, rest: '' }
}

function scanFlag(scan: Scan): string {
  let flag = ''
  let quote = ''
  for (; scan.at < scan.text.length; scan.at++) {
    const char = scan.text.charAt(scan.at)
    if (quote === '' && isSpace(char)) return flag
    const next = quoteAfter(quote, char)
    if (next !== quote) {
      quote = next
    } else if (char === scan.escape) {
      scan.at++
      flag += scan.text.charAt(scan.at)
    } else {
      flag += char
    }
  }
  return flag
}
