import { randomUUID } from 'node:crypto'
import type { EmitBuildEvent } from './build-event.ts'

/** Once `signal` aborts, the work counts as canceled. */
export interface VertexLine {
  readonly name: string
  readonly signal: AbortSignal
}

/** Runs `work` as one line of the build's progress; how it ends is told, and is the result. */
export async function vertex<T>(
  line: string | VertexLine,
  emit: EmitBuildEvent,
  work: (id: string) => Promise<T>,
): Promise<T> {
  const { name, signal } = typeof line === 'string' ? { name: line, signal: undefined } : line
  const id = `vertex ${name} ${randomUUID()}`
  emit({ kind: 'started', id, name })
  try {
    const value = await work(id)
    emit({ kind: 'done', id, how: 'worked' })
    return value
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    emit(signal?.aborted === true ? { kind: 'canceled', id } : { kind: 'failed', id, message })
    throw error
  }
}
