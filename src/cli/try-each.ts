/** Commands on several things: each is tried, and the exit code tells whether one failed. */
import { hasCode } from '../oci/errors.ts'
import { exitCodes } from './cli-error.ts'
import type { CliContext } from './command.ts'
import { reportFailure } from './report-failure.ts'

export interface EachOptions {
  readonly context: CliContext
  /** Those that do not exist are no failure. */
  readonly ignoresMissing?: boolean | undefined
  /** `at once`: none waits for the one before it. */
  readonly order?: 'in turn' | 'at once'
}

/**
 * Prints what `work` returns for each of `words`, in their order, and reports why it failed for the
 * others. Returns the exit code: that of the last failure.
 */
export async function tryEach(
  words: readonly string[],
  { context, ignoresMissing = false, order = 'in turn' }: EachOptions,
  work: (word: string) => Promise<string>,
): Promise<number> {
  const attempt = (word: string) => work(word).then(printed, failed)
  const started = order === 'at once' ? words.map(attempt) : undefined
  let code: number = exitCodes.ok
  for (const [index, word] of words.entries()) {
    const result = await (started?.[index] ?? attempt(word))
    if ('text' in result) context.stdout.write(result.text)
    else if (!(ignoresMissing && hasCode(result.reason, 'not-found'))) {
      code = reportFailure(result.reason, { command: undefined, ...context })
    }
  }
  return code
}

const printed = (text: string) => ({ text })
const failed = (reason: unknown) => ({ reason })
