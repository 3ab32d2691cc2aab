/** `logs`: all that the steps of a build wrote, never clipped. */
import type { RecordedBuild, RecordedStep } from '../../../builder/history/build-record.ts'
import { findBuild, isBuildId, openLog } from '../../../builder/history/builds.ts'
import { selectSteps } from '../../../builder/history/select-step.ts'
import { openStore, type Store } from '../../../layerfs/store.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { type CliContext, type Command, defineCommand } from '../../command.ts'
import { LogLines, safeLine } from '../../progress/log-lines.ts'

export const logsCommand: Command = defineCommand({
  name: 'logs',
  usage: '[BUILD] [STEP]',
  summary: 'Print the whole output of a build’s steps, or of one step',
  examples: [
    'logs',
    'logs 7',
    'logs build:12',
    'logs 20261120-172106-4753f 7',
    'logs last "npm ci"',
  ],
  flags: {},
  arity: { min: 0, max: 2 },
  run: async ({ args, ...context }) => {
    const [id, text] = buildAndStep(args)
    await using store = await openStore(context.environment.root)
    const build = await findBuild(store, id)
    const steps = text === undefined ? build.steps : selectSteps(build, text)
    for (const step of steps) {
      await printLog(
        store,
        { build, step, withHead: text === undefined || steps.length > 1 },
        context,
      )
    }
    return 0
  },
})

/** One word alone is a build if it looks like one. */
function buildAndStep([first, second]: readonly string[]): [
  id: string | undefined,
  step: string | undefined,
] {
  if (first === undefined) return [undefined, undefined]
  const isBuild = first === 'last' || isBuildId(first)
  if (second === undefined) return isBuild ? [first, undefined] : [undefined, first]
  if (!isBuild)
    throw usageError(`"${printable(first)}" is no id of a build`, 'Usage: logs [BUILD] [STEP]')
  return [first, second]
}

interface Log {
  readonly build: RecordedBuild
  readonly step: RecordedStep
  readonly withHead: boolean
}

/** As it was written; made safe for a terminal. */
async function printLog(
  store: Store,
  { build, step, withHead }: Log,
  { stdout, signal }: CliContext,
): Promise<void> {
  const log = await openLog(store, build, step.number)
  if (log === undefined) return
  if (withHead) stdout.write(`#${step.number} ${printable(step.name, 1000)}\n`)
  const lines = new LogLines()
  let last = 0x0a
  for await (const bytes of log) {
    signal.throwIfAborted()
    last = bytes.at(-1) ?? last
    const safe = () => lines.push(bytes).map(shown).join('')
    await written(stdout, stdout.isTTY === true ? safe() : bytes)
  }
  for (const line of lines.end()) stdout.write(shown(line))
  if (withHead && stdout.isTTY !== true && last !== 0x0a) stdout.write('\n')
  if (withHead) stdout.write('\n')
}

/** A log is larger than what a pipe takes at once. */
async function written(stdout: CliContext['stdout'], data: string | Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    stdout.write(data, error => (error == null ? resolve() : reject(error)))
  })
}

function shown(line: string): string {
  return `${safeLine(line, 'keep')}\n`
}
