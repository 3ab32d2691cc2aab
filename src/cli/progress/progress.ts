/**
 * Progress: shows a stream of build events on stderr, in one of docker's modes.
 *
 *   using progress = openProgress({ mode: flags.progress, title: 'Building' }, context)
 *   await build(request, { ...world, emit: progress.emit })
 *
 * Disposing shows the last state, the last output of failed steps and the warnings, and gives the
 * terminal back; what is written to stderr afterwards comes below.
 */
import type { BuildEvent, EmitBuildEvent } from '../../builder/build-event.ts'
import { usageError } from '../cli-error.ts'
import type { CliContext } from '../command.ts'
import type { Terminal } from '../terminal.ts'
import { failureLogs, warningList } from './format.ts'
import { plainRenderer } from './plain.ts'
import { rawJsonWriter } from './rawjson.ts'
import { type Clock, type Renderer, systemClock } from './renderer.ts'
import { Trace } from './trace.ts'
import { ttyRenderer } from './tty.ts'

export const progressModes = ['auto', 'none', 'plain', 'quiet', 'rawjson', 'tty'] as const

export type ProgressMode = (typeof progressModes)[number]

export interface ProgressOptions {
  readonly mode: ProgressMode
  /** `Building`, `Pulling`: the head of the terminal's frame. */
  readonly title: string
  readonly clock?: Clock
}

export interface Progress extends Disposable {
  readonly emit: EmitBuildEvent
  /** Shows nothing until it is disposed: what comes meanwhile is shown then. */
  suspend(): Disposable
}

/** Throws a usage error for mode `tty` without a terminal. */
export function openProgress(
  options: ProgressOptions,
  context: Pick<CliContext, 'stderr' | 'environment' | 'interrupts'>,
): Progress {
  const { stderr: out } = context
  if (options.mode === 'none') return silent(() => undefined)
  if (options.mode === 'rawjson') {
    return silent(rawJsonWriter(out, () => new Date()))
  }
  const clock = options.clock ?? systemClock
  const trace = new Trace(clock.now())
  const renderer = rendererFor({ trace, clock }, options, context)
  let isOpen = true
  let held: BuildEvent[] | undefined
  const show = (event: BuildEvent) => {
    const change = trace.apply(event, clock.now())
    renderer?.update(change)
  }
  return {
    emit: event => {
      if (held === undefined) show(event)
      else held.push(event)
    },
    suspend: () => {
      held ??= []
      renderer?.suspend?.()
      return {
        [Symbol.dispose]: () => {
          renderer?.resume?.()
          const waiting = held ?? []
          held = undefined
          for (const event of waiting) show(event)
        },
      }
    },
    [Symbol.dispose]: () => {
      if (!isOpen) return
      isOpen = false
      renderer?.close()
      out.write(failureLogs(trace.vertices, out))
      if (options.mode !== 'quiet') out.write(warningList(trace.warnings, out))
    },
  }
}

function silent(emit: EmitBuildEvent): Progress {
  const nothing = () => undefined
  return { emit, suspend: () => ({ [Symbol.dispose]: nothing }), [Symbol.dispose]: nothing }
}

/** Shows what `work` emits; everything is shown when the promise settles. */
export async function withProgress<T>(
  options: ProgressOptions,
  context: Parameters<typeof openProgress>[1],
  work: (emit: EmitBuildEvent) => Promise<T>,
): Promise<T> {
  using progress = openProgress(options, context)
  return await work(progress.emit)
}

function rendererFor(
  input: { readonly trace: Trace; readonly clock: Clock },
  { mode, title }: ProgressOptions,
  { stderr, environment, interrupts }: Pick<CliContext, 'stderr' | 'environment' | 'interrupts'>,
): Renderer | undefined {
  if (mode === 'quiet') return undefined
  if (!isTerminalMode(mode, stderr)) return plainRenderer(input, stderr)
  const tailLines = Number(environment.lookup('BUILDKIT_TTY_LOG_LINES') ?? 6)
  return ttyRenderer(input, stderr, {
    title,
    tailLines: Number.isSafeInteger(tailLines) ? tailLines : 6,
    interrupts,
  })
}

function isTerminalMode(mode: ProgressMode, { isInteractive }: Terminal): boolean {
  if (mode === 'tty' && !isInteractive) {
    throw usageError('Cannot show progress as "tty": standard error is not a terminal')
  }
  return mode === 'tty' || (mode === 'auto' && isInteractive)
}
