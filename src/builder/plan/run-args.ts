/**
 * Which declared ARGs a RUN has in its environment.
 *
 * BuildKit gives it all of them, so that another value of any runs it again. With `named` it gets
 * only those whose names stand in the RUN itself: its command, its heredocs, its flags. It is safe
 * to leave the others out of its cache key for the one reason that they are not there: whatever the
 * command starts cannot read them either. A script that wants one is named it: `V=$V ./build.sh`.
 *
 *   # tsbuild: run-args=named       above a RUN: of this RUN; above a FROM: of its stage
 */
import { DockerfileError } from '../dockerfile/error.ts'
import type { RunInstruction } from '../dockerfile/instruction.ts'
import type { RunArgs } from './build-args.ts'
import type { StageState } from './stage-state.ts'

/** Throws DockerfileError for a `# tsbuild:` comment that says something else. */
export function hiddenArgs(
  { args, image, stage, plan }: StageState,
  instruction: RunInstruction,
  text: string,
): ReadonlySet<string> {
  const how =
    choiceIn(instruction.comments) ?? choiceIn(stage.from.comments) ?? plan.options.runArgs
  if (how !== 'named') return new Set()
  const kept = new Set(image.env.map(entry => entry.slice(0, entry.indexOf('='))))
  const words = new Set(text.match(/[A-Za-z_][A-Za-z0-9_]*/g))
  const names = args.map(({ name }) => name)
  return new Set(names.filter(name => !kept.has(name) && !words.has(name)))
}

function choiceIn(comments: readonly string[]): RunArgs | undefined {
  let choice: RunArgs | undefined
  for (const comment of comments) {
    const said = /^tsbuild:\s*(.*)$/.exec(comment)?.[1]
    if (said === undefined) continue
    const value = /^run-args\s*=\s*(declared|named)\s*$/.exec(said)?.[1]
    if (value !== 'declared' && value !== 'named') {
      throw new DockerfileError(`unknown directive "# tsbuild: ${said}"`, {
        hint: 'There is "# tsbuild: run-args=named" and "# tsbuild: run-args=declared"',
      })
    }
    choice = value
  }
  return choice
}
