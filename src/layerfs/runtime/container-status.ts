/** What a container is at the moment, in docker's word for it. */
import type { Container } from './container-list.ts'
import { isPaused } from './container-processes.ts'

export type ContainerStatus = 'created' | 'running' | 'paused' | 'exited'

export function statusOf(container: Container): ContainerStatus {
  if (container.isRunning) return isPaused(container) ? 'paused' : 'running'
  const { record } = container
  return record !== undefined && record.startedAt === undefined ? 'created' : 'exited'
}
