/**
 * What BuildKit made of each case of `compared-newest`, in fixtures/dockerfile/recorded.jsonl: one
 * line per case, with what differs from its base alone, for the base is the machine's own busybox.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Facts } from './build-facts.ts'

const file = join(import.meta.dirname, '../../fixtures/dockerfile/recorded.jsonl')

interface RecordedCase {
  readonly name: string
  /** By name; `null` for what the base has and the result has not. */
  readonly facts: Readonly<Record<string, string | null>>
}

/** What was recorded, by name of the case. */
export function readRecorded(): Map<string, RecordedCase> {
  if (!existsSync(file)) return new Map()
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  const cases = lines.map(line => JSON.parse(line) as RecordedCase)
  return new Map(cases.map(recorded => [recorded.name, recorded]))
}

/** Puts `facts` by name into what was recorded before. */
export function writeRecorded(all: ReadonlyMap<string, Facts>, base: Facts): void {
  const recorded = readRecorded()
  for (const [name, facts] of all) recorded.set(name, { name, facts: shorten(facts, base) })
  const sorted = [...recorded.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  writeFileSync(file, sorted.map(line => `${JSON.stringify(line)}\n`).join(''))
}

/** All that came out of a recorded case on `base`. */
export function restore({ facts }: RecordedCase, base: Facts): Facts {
  if (facts['outcome'] === 'failed') return withoutNull(facts)
  return withoutNull({ ...Object.fromEntries(base), ...facts })
}

function shorten(facts: Facts, base: Facts): Record<string, string | null> {
  if (facts.get('outcome') === 'failed') {
    const said = facts.get('said')?.split('\n').at(-1) ?? ''
    return { outcome: 'failed', said: said.replace(/\/tmp\/tsbuild-[^ /]*/g, '…') }
  }
  const changed = [...facts].filter(([name, value]) => base.get(name) !== value)
  const gone = [...base.keys()].filter(name => !facts.has(name))
  return Object.fromEntries([...changed, ...gone.map(name => [name, null] as const)])
}

function withoutNull(facts: Readonly<Record<string, string | null>>): Facts {
  return new Map(
    Object.entries(facts).flatMap(([name, value]) => (value === null ? [] : [[name, value]])),
  )
}
