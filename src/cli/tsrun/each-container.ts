/** Commands on several containers: each is tried, and the exit code tells whether one failed. */
import {
  type Container,
  findContainer,
  listContainers,
} from '../../layerfs/runtime/container-list.ts'
import type { Store } from '../../layerfs/store.ts'
import { hasCode } from '../../oci/errors.ts'
import type { CliContext } from '../command.ts'
import { reportFailure } from '../report-failure.ts'

export interface EachOptions {
  readonly context: CliContext
  readonly store: Store
  /** Those that do not exist are no failure. */
  readonly ignoresMissing?: boolean
  /** What is printed for one that worked: as the user named it. */
  readonly line?: (result: unknown, text: string) => string
}

/** All at once; what is printed keeps the order of `words`. */
export async function eachContainer(
  words: readonly string[],
  { context, store, ignoresMissing = false, line = (_, text) => text }: EachOptions,
  work: (container: Container) => Promise<unknown>,
): Promise<number> {
  const containers = await listContainers(store.containers)
  const results = words.map(async text => await work(findContainer(containers, text)))
  let code = 0
  for (const [index, settled] of (await Promise.allSettled(results)).entries()) {
    if (settled.status === 'fulfilled') {
      context.stdout.write(`${line(settled.value, words[index] ?? '')}\n`)
    } else if (!(ignoresMissing && hasCode(settled.reason, 'not-found'))) {
      const failed = { program: { name: 'tsrun' }, command: undefined, ...context }
      code = reportFailure(settled.reason, failed)
    }
  }
  return code
}
