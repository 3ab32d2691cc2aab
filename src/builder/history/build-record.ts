/**
 * A build as it is kept: what was asked for, and every event but the output of its steps.
 *
 *   builds/<id>/events.jsonl   the header, then one event per line, as they came
 *   builds/<id>/<number>.log   the whole output of the step that progress calls #<number>
 *
 * Lines are only added, so a build that was killed tells all it did until then.
 */
import type { ChainId } from '../../oci/digest.ts'
import { OciError } from '../../oci/errors.ts'
import { asString, field, member, optional } from '../../oci/json.ts'
import type { BuildEvent } from '../build-event.ts'
import type { Miss } from '../explain/miss.ts'
import type { StepSource } from '../solve/graph.ts'

export const recordVersion = 1

export interface BuildHeader {
  readonly id: string
  /** RFC 3339. */
  readonly startedAt: string
  /** As the user named it: `.`, a URL. */
  readonly context: string
  readonly dockerfile: string
  readonly target?: string
  /** Separated by commas; empty for none. */
  readonly tags: string
}

/** Milliseconds since the build started. */
interface Timed {
  readonly at: number
}

export type BuildEnd =
  | { readonly kind: 'end'; readonly state: 'done' | 'canceled' }
  | { readonly kind: 'end'; readonly state: 'failed'; readonly message: string }

/** Output has files of its own; how far a transfer is means nothing later. */
export type KeptEvent = Exclude<BuildEvent, { kind: 'log' | 'status' }>

export type RecordLine = (KeptEvent | BuildEnd) & Timed

export interface RecordedStep {
  /** From 1, in the order they started: `#7` of the progress. */
  readonly number: number
  readonly name: string
  readonly startedAt: number
  readonly source?: StepSource
  miss?: Miss
  /** `running`: nobody said how it ended. */
  outcome: 'running' | 'cached' | 'worked' | 'failed' | 'canceled'
  endedAt?: number
  chain?: ChainId
  message?: string
}

export interface RecordedBuild extends BuildHeader {
  readonly steps: readonly RecordedStep[]
  /** `stopped`: its process ended without a word. */
  readonly state: 'running' | 'stopped' | BuildEnd['state']
  readonly endedAt?: number
  readonly message?: string
}

/** Throws `invalid` for what is no record of this version; a line cut short ends it. */
export function readRecord(text: string, isRunning: boolean): RecordedBuild {
  const [first = '', ...rest] = text.split('\n')
  const header = parseHeader(first)
  const steps = new Map<string, RecordedStep>()
  let end: (BuildEnd & Timed) | undefined
  for (const line of rest) {
    const event = parseLine(line)
    if (event === undefined) break
    if (event.kind === 'end') end = event
    else apply(event, steps)
  }
  return {
    ...header,
    steps: [...steps.values()],
    state: end?.state ?? (isRunning ? 'running' : 'stopped'),
    ...field('endedAt', end?.at),
    ...field('message', end?.state === 'failed' ? end.message : undefined),
  }
}

function apply(event: KeptEvent & Timed, steps: Map<string, RecordedStep>): void {
  const { at } = event
  if (event.kind === 'started') {
    const { id, name, source } = event
    const number = steps.size + 1
    steps.set(id, { number, name, startedAt: at, outcome: 'running', ...field('source', source) })
    return
  }
  const step = event.id === undefined ? undefined : steps.get(event.id)
  if (step === undefined || event.kind === 'warning') return
  if (event.kind === 'miss') step.miss = event.miss
  else if (event.kind === 'done') {
    Object.assign(step, { outcome: event.how, endedAt: at, ...field('chain', event.chain) })
  } else if (event.kind === 'failed') {
    Object.assign(step, { outcome: 'failed', endedAt: at, message: event.message })
  } else Object.assign(step, { outcome: 'canceled', endedAt: at })
}

function parseHeader(line: string): BuildHeader {
  const value = parseJsonLine(line)
  const node = { document: 'build record', path: '', value }
  const version = member(node, 'version').value
  if (version !== recordVersion) throw new OciError('invalid', 'Not a build record of this version')
  const text = (key: string) => asString(member(node, key))
  return {
    id: text('id'),
    startedAt: text('startedAt'),
    context: text('context'),
    dockerfile: text('dockerfile'),
    tags: text('tags'),
    ...field('target', optional(member(node, 'target'), asString)),
  }
}

/** Lines are our own: whole ones are what we wrote. */
function parseLine(line: string): RecordLine | undefined {
  const value = parseJsonLine(line)
  return isRecordLine(value) ? value : undefined
}

function isRecordLine(value: unknown): value is RecordLine {
  return (
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    'at' in value &&
    typeof value.at === 'number'
  )
}

function parseJsonLine(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
