/** Progress for programs: one JSON object per event, in the shape of BuildKit's `SolveStatus`. */
import type { BuildEvent } from '../../builder/build-event.ts'
import { missText } from '../../builder/explain/miss.ts'
import { field } from '../../oci/json.ts'
import type { Terminal } from '../terminal.ts'

/** Writes `event` as it arrives; `now` is the wall clock's. */
export function rawJsonWriter(out: Terminal, now: () => Date): (event: BuildEvent) => void {
  const started = new Map<string, { readonly name: string; readonly started: string }>()
  return event => {
    const time = now().toISOString()
    if (event.kind === 'started') started.set(event.id, { name: event.name, started: time })
    const vertex = { digest: event.id, ...started.get(event.id ?? '') }
    out.write(`${JSON.stringify(solveStatus(event, vertex, time))}\n`)
  }
}

function solveStatus(event: BuildEvent, vertex: object, time: string): object {
  switch (event.kind) {
    case 'started':
      return { vertexes: [vertex] }
    case 'done':
      return { vertexes: [{ ...vertex, completed: time, cached: event.how === 'cached' }] }
    case 'miss':
      return { misses: [{ vertex: event.id, text: missText(event.miss), ...event.miss }] }
    case 'failed':
      return { vertexes: [{ ...vertex, completed: time, error: event.message }] }
    case 'canceled':
      return { vertexes: [{ ...vertex, completed: time, error: 'context canceled' }] }
    case 'log': {
      const data = Buffer.from(event.bytes).toString('base64')
      const stream = event.stream === 'stdout' ? 1 : 2
      return { logs: [{ vertex: event.id, stream, data, timestamp: time }] }
    }
    case 'status': {
      const { id, item, current, total = 0, isDone } = event
      const completed = isDone ? { completed: time } : {}
      return { statuses: [{ id: item, vertex: id, current, total, timestamp: time, ...completed }] }
    }
    case 'warning':
      return { warnings: [{ vertex: event.id, level: 1, ...vertexWarning(event) }] }
  }
}

/** What BuildKit's `VertexWarning` says of a warning, its texts in base64. */
function vertexWarning({ message, check }: Extract<BuildEvent, { kind: 'warning' }>): object {
  const short = Buffer.from(message).toString('base64')
  if (check === undefined) return { short }
  const [start, end] = check.lines
  return {
    short,
    detail: [Buffer.from(check.detail).toString('base64')],
    ...field('url', check.url),
    range: [{ start: { line: start }, end: { line: end } }],
  }
}
