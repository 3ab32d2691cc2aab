/** A terminal in memory: enough of a VT100 to see what a person would see. */
import type { Terminal } from '../../../src/cli/terminal.ts'

export interface Screen extends Terminal {
  /** The lines as shown, without trailing spaces, from the first that was ever written. */
  lines(): string[]
  raw(): string
  resize(columns: number, rows: number): void
  readonly cursorIsVisible: () => boolean
}

export function openScreen(columns = 80, rows = 24): Screen {
  let size = { columns, rows }
  let written = ''
  const cells: string[][] = [[]]
  let row = 0
  let column = 0
  let isVisible = true
  const lineAt = (index: number) => {
    while (cells.length <= index) cells.push([])
    return cells[index] as string[]
  }
  const obey = (parameter: string, final: string) => {
    const count = Number(parameter === '' ? 1 : parameter)
    if (final === 'A') row = Math.max(0, row - count)
    else if (final === 'K') lineAt(row).length = Math.min(lineAt(row).length, column)
    else if (final === 'J') {
      lineAt(row).length = Math.min(lineAt(row).length, column)
      cells.length = row + 1
    } else if (final === 'h' || final === 'l') isVisible = final === 'h'
    else if (final !== 'm') throw new Error(`Unexpected sequence ${parameter}${final}`)
  }
  const put = (char: string) => {
    if (char === '\n') {
      row++
      column = 0
    } else if (char === '\r') column = 0
    else {
      if (column >= size.columns) {
        row++
        column = 0
      }
      const line = lineAt(row)
      while (line.length < column) line.push(' ')
      line[column++] = char
    }
    lineAt(row)
  }
  return {
    isInteractive: true,
    hasColor: false,
    size: () => size,
    resize: (newColumns, newRows) => {
      size = { columns: newColumns, rows: newRows }
    },
    write: text => {
      written += text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's input
      const tokens = text.matchAll(/\u001b\[\??([0-9;]*)([A-Za-z])|(.|\n)/gu)
      for (const [, parameter, final, char] of tokens) {
        if (char !== undefined) put(char)
        else obey(parameter ?? '', final ?? '')
      }
    },
    lines: () =>
      cells
        .map(line => line.join('').trimEnd())
        .filter((line, i, all) => line !== '' || i < all.length - 1),
    raw: () => written,
    cursorIsVisible: () => isVisible,
  }
}
