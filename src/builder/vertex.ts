import { randomUUID } from 'node:crypto'
import type { EmitBuildEvent } from './build-event.ts'

/** Runs `work` as one line of the build's progress; how it ends is told, and is the result. */
export async function vertex<T>(
  name: string,
  emit: EmitBuildEvent,
  work: (id: string) => Promise<T>,
): Promise<T> {
  const id = `vertex ${name} ${randomUUID()}`
  emit({ kind: 'started', id, name })
  try {
    const value = await work(id)
    emit({ kind: 'done', id, how: 'worked' })
    return value
  } catch (error) {
    emit({ kind: 'failed', id, message: error instanceof Error ? error.message : String(error) })
    throw error
  }
}
