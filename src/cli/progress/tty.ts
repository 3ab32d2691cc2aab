/**
 * Terminal progress: redraws one frame in place, at most ten times a second.
 *
 * The cursor is hidden while it draws and given back by `close`; `interrupts.onExit` does the same
 * when the process ends otherwise. Lines are counted as the terminal wraps them now, so a resize
 * leaves no debris above the frame. A line is cleared before it is written: after a character in the
 * last column the cursor still stands on it, and clearing would take it away again.
 */
import type { Interrupts } from '../interrupts.ts'
import type { Terminal } from '../terminal.ts'
import { displayWidth } from './display-width.ts'
import { safeLine } from './log-lines.ts'
import type { Clock, Renderer, RendererInput } from './renderer.ts'
import type { Trace } from './trace.ts'
import { frameLines } from './tty-frame.ts'

const drawEvery = 100
const hideCursor = '\u001b[?25l'
const showCursor = '\u001b[?25h'
const clearLine = '\u001b[K'
const clearBelow = '\u001b[J'

export interface TtyOptions {
  readonly title: string
  readonly tailLines: number
  readonly interrupts: Pick<Interrupts, 'onExit'>
}

export function ttyRenderer(input: RendererInput, out: Terminal, options: TtyOptions): Renderer {
  return new TtyRenderer(input, out, options)
}

class TtyRenderer implements Renderer {
  readonly #trace: Trace
  readonly #clock: Clock
  readonly #out: Terminal
  readonly #options: TtyOptions
  readonly #timer: Disposable
  readonly #restoreOnExit: Disposable
  /** The cells that each drawn line takes. */
  #drawn: readonly number[] = []
  #isSuspended = false

  constructor({ trace, clock }: RendererInput, out: Terminal, options: TtyOptions) {
    this.#trace = trace
    this.#clock = clock
    this.#out = out
    this.#options = options
    this.#timer = clock.every(drawEvery, () => this.#draw('fitting'))
    this.#restoreOnExit = options.interrupts.onExit(() => out.write(showCursor))
    out.write(hideCursor)
  }

  /** Drawn at the next tick: however fast events come, frames do not. */
  update(): void {}

  suspend(): void {
    this.#draw('all')
    this.#isSuspended = true
    this.#out.write(showCursor)
  }

  resume(): void {
    this.#isSuspended = false
    this.#out.write(hideCursor)
    // Below what was written meanwhile.
    this.#drawn = []
  }

  close(): void {
    this.#timer[Symbol.dispose]()
    this.#draw('all')
    this.#out.write(showCursor)
    this.#restoreOnExit[Symbol.dispose]()
  }

  #draw(extent: 'fitting' | 'all'): void {
    if (this.#trace.vertices.length === 0 || this.#isSuspended) return
    const { columns, rows } = this.#out.size()
    const { title, tailLines } = this.#options
    const lines = frameLines(this.#trace, {
      title,
      tailLines,
      now: this.#clock.now(),
      columns,
      // The cursor's own line, below the frame, must not make the terminal scroll.
      rows: extent === 'all' ? 'all' : rows - 1,
      hasColor: this.#out.hasColor,
    })
    const up = this.#drawn.reduce((sum, cells) => sum + Math.max(1, Math.ceil(cells / columns)), 0)
    const back = up === 0 ? '\r' : `\r\u001b[${up}A`
    this.#out.write(`${back}${lines.map(line => `${clearLine}${line}\n`).join('')}${clearBelow}`)
    this.#drawn = lines.map(line => displayWidth(safeLine(line, 'strip')))
  }
}
