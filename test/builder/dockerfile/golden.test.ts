import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import { formatExcerpt } from '../../../src/builder/dockerfile/excerpt.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import type { Origin, Step } from '../../../src/builder/plan/step.ts'
import { arm64, type Planned, planAll } from '../plan/planning.ts'

const fixtures = join(import.meta.dirname, '../../../fixtures/dockerfile')

function cases(folder: string): string[] {
  return readdirSync(join(fixtures, folder), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => entry.name)
}

function source(folder: string, name: string): string {
  return readFileSync(join(fixtures, folder, name, 'Dockerfile'), 'utf8')
}

/** The stages that are built, one paragraph each, as a person would check them. */
function describePlan(planned: readonly Planned[]): string {
  return planned.map(describeStage).join('\n')
}

function describeStage({ stage, steps, image }: Planned): string {
  const head = `stage ${stage.index} ${stage.name ?? ''} on ${describeOrigin(stage.base)}`
  const needs = stage.needs.map(need => `  needs ${describeOrigin(need)}`)
  const lines = steps.flatMap(step => [
    `  ${step.displayName.replaceAll('\n', '\\n')}`,
    ...details(step),
  ])
  return [head, ...needs, ...lines, `  config ${JSON.stringify(image.config)}`, ''].join('\n')
}

function describeOrigin(origin: Origin): string {
  if (origin.kind === 'stage') return `stage ${origin.stage}`
  if (origin.kind === 'image') return `${origin.reference} for ${origin.platform.architecture}`
  return origin.kind === 'named' ? `context ${origin.name}` : origin.kind
}

function details(step: Step): string[] {
  const { displayName: _name, span, ...rest } = step
  const lines =
    span.startLine === span.endLine ? `${span.startLine}` : `${span.startLine}-${span.endLine}`
  return [`    lines ${lines}`, ...Object.entries(rest).filter(isNoted).map(detail)]
}

/** What is empty or off goes without saying. */
function isNoted([, value]: [string, unknown]): boolean {
  return value !== '' && value !== false && !(Array.isArray(value) && value.length === 0)
}

function detail([key, value]: [string, unknown]): string {
  return `    ${key} ${typeof value === 'string' ? value.replaceAll('\n', '\\n') : JSON.stringify(value)}`
}

/** What a user is shown. */
function describeFailure(text: string): string {
  try {
    planAll(text)
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    const hint = error.hint === undefined ? '' : `hint: ${error.hint}\n`
    return `${formatExcerpt(text, error)}${error.message}\n${hint}`
  }
  return 'no error\n'
}

describe('fixtures/dockerfile/parsed', () => {
  for (const name of cases('parsed')) {
    const text = source('parsed', name)
    test(`${name} parses as it did`, async () => {
      const { instructions, directives } = parseDockerfile(text)
      const ast = `${JSON.stringify({ directives, instructions }, null, 2)}\n`
      await expect(ast).toMatchFileSnapshot(join(fixtures, 'parsed', name, 'ast.json'))
    })

    test(`${name} plans as it did, for arm64 on amd64`, async () => {
      const plan = describePlan(planAll(text, { targetPlatform: arm64 }))
      await expect(plan).toMatchFileSnapshot(join(fixtures, 'parsed', name, 'plan.txt'))
    })
  }
})

describe('fixtures/dockerfile/refused', () => {
  for (const name of cases('refused')) {
    test(`${name} is refused as it was`, async () => {
      const shown = describeFailure(source('refused', name))
      expect(shown).not.toBe('no error\n')
      await expect(shown).toMatchFileSnapshot(join(fixtures, 'refused', name, 'error.txt'))
    })
  }
})
