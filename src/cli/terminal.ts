/** Terminal: where text for people goes, and what that place can show. */
import type { Environment } from './environment.ts'

export interface Terminal {
  write(text: string): void
  /** A terminal that can move its cursor; otherwise a file, a pipe or a dumb terminal. */
  readonly isInteractive: boolean
  readonly hasColor: boolean
  /** Now: a terminal's size changes. 80 × 24 where there is none. */
  size(): { readonly columns: number; readonly rows: number }
}

export function terminalOf(
  stream: NodeJS.WriteStream,
  { color, isDumbTerminal }: Pick<Environment, 'color' | 'isDumbTerminal'>,
): Terminal {
  const isInteractive = stream.isTTY === true && !isDumbTerminal
  return {
    write: text => {
      stream.write(text)
    },
    isInteractive,
    hasColor: color === 'always' || (color === 'auto' && isInteractive),
    size: () => ({ columns: stream.columns || 80, rows: stream.rows || 24 }),
  }
}

const sgr = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, cyan: 36 } as const

export type Style = keyof typeof sgr

/** `text` in a colour or weight, where the terminal shows them. */
export function styled(
  text: string,
  style: Style,
  { hasColor }: { readonly hasColor: boolean },
): string {
  return hasColor ? `\u001b[${sgr[style]}m${text}\u001b[0m` : text
}
