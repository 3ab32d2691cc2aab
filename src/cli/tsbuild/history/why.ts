/** `why`: for each step of a build whether its result was reused, and if not, what had changed. */

import { type Cause, causeText, type Miss } from '../../../builder/explain/miss.ts'
import type { RecordedBuild, RecordedStep } from '../../../builder/history/build-record.ts'
import { findBuild } from '../../../builder/history/builds.ts'
import { selectSteps } from '../../../builder/history/select-step.ts'
import { openStore } from '../../../layerfs/store.ts'
import { printable } from '../../../oci/errors.ts'
import { type Command, defineCommand } from '../../command.ts'
import { formatSeconds } from '../../progress/format.ts'
import { styled } from '../../terminal.ts'
import { buildFlag, buildTitle } from './describe-build.ts'

/** Of one step among others; asked for alone, a step tells all that is kept. */
const shownCauses = 10

export const whyCommand: Command = defineCommand({
  name: 'why',
  usage: '[FLAGS] [STEP]',
  summary: 'Tell for each step of a build why it ran, or that it was cached',
  examples: ['why', 'why 7', 'why build:12', 'why "npm ci"', 'why --build 20261120-172106-4753f'],
  flags: {
    build: buildFlag,
    format: {
      kind: 'choice',
      choices: ['text', 'json'],
      default: 'text',
      help: 'Lines for people, or a JSON object for each step',
    },
  },
  arity: { min: 0, max: 1 },
  run: async ({ flags, args: [text], environment, stdout, stderr }) => {
    await using store = await openStore(environment.root)
    const build = await findBuild(store, flags.build)
    const chosen = text === undefined ? build.steps.filter(isTold) : selectSteps(build, text)
    if (flags.format === 'json') {
      for (const step of chosen) stdout.write(`${JSON.stringify(stepJson(build, step))}\n`)
      return 0
    }
    const terminal = { hasColor: stderr.hasColor && stdout.isTTY === true }
    const most = text === undefined ? shownCauses : Number.POSITIVE_INFINITY
    stdout.write(`${buildTitle(build, new Date())}\n${countText(build.steps)}\n\n`)
    for (const step of chosen) {
      stdout.write(`${styled(headOf(step), 'bold', terminal)}\n`)
      for (const line of step.miss === undefined ? [] : missLines(step.miss, most)) {
        stdout.write(`      ${line}\n`)
      }
      if (step.message !== undefined) stdout.write(`      ${printable(step.message, 1000)}\n`)
    }
    return 0
  },
})

/** Of the Dockerfile: loading and exporting are nothing to explain. */
function isTold({ source, miss }: RecordedStep): boolean {
  return source !== undefined || miss !== undefined
}

function countText(steps: readonly RecordedStep[]): string {
  const told = steps.filter(isTold)
  const count = (outcome: RecordedStep['outcome']) =>
    told.filter(step => step.outcome === outcome && (outcome !== 'worked' || step.miss)).length
  const parts = [
    [count('cached'), 'cached'],
    [count('worked'), 'ran'],
    [count('failed'), 'failed'],
    [count('canceled'), 'canceled'],
  ] as const
  const shown = parts.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`)
  return shown.length === 0 ? 'No step had anything to do' : `Steps: ${shown.join(', ')}`
}

function headOf(step: RecordedStep): string {
  const { number, name, outcome, startedAt, endedAt, miss } = step
  const took = endedAt === undefined ? '' : ` ${formatSeconds(endedAt - startedAt)}`
  const words = {
    cached: 'CACHED',
    worked: miss === undefined ? 'DONE' : `RAN${took}`,
    failed: `FAILED${took}`,
    canceled: 'CANCELED',
    running: 'NOT ENDED',
  }
  return `#${number} ${words[outcome]} ${printable(name, 1000)}`
}

function missLines({ causes, more, root }: Miss, most: number): string[] {
  const shown = causes.slice(0, most)
  const rest = causes.length - shown.length + more
  const began =
    root === undefined
      ? []
      : [`it began in ${printable(root.step, 200)}:`, ...rootLines(root.causes, root.more)]
  return [...shown.map(causeText), ...(rest > 0 ? [`and ${rest} more`] : []), ...began]
}

function rootLines(causes: readonly Cause[], more: number): string[] {
  const shown = causes.slice(0, 3)
  const rest = causes.length - shown.length + more
  return [
    ...shown.map(cause => `  ${causeText(cause)}`),
    ...(rest > 0 ? [`  and ${rest} more`] : []),
  ]
}

function stepJson({ id }: RecordedBuild, step: RecordedStep) {
  const { number, name, source, outcome, miss, chain, startedAt, endedAt } = step
  return {
    build: id,
    number,
    name,
    ...source,
    outcome,
    ...(endedAt === undefined ? {} : { milliseconds: endedAt - startedAt }),
    ...(chain === undefined ? {} : { chain }),
    ...(miss === undefined ? {} : { miss }),
  }
}
