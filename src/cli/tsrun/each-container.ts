import {
  type Container,
  findContainer,
  listContainers,
} from '../../layerfs/runtime/container-list.ts'
import type { Store } from '../../layerfs/store.ts'
import type { CliContext } from '../command.ts'
import { tryEach } from '../try-each.ts'

export interface EachContainerOptions {
  readonly context: CliContext
  readonly store: Store
  /** Those that do not exist are no failure. */
  readonly ignoresMissing?: boolean
  /** What is printed for one that worked: as the user named it. */
  readonly line?: (result: unknown, text: string) => string
}

/** As {@link tryEach}, of containers: all at once. */
export async function eachContainer(
  words: readonly string[],
  { context, store, ignoresMissing, line = (_, text) => text }: EachContainerOptions,
  work: (container: Container) => Promise<unknown>,
): Promise<number> {
  const containers = await listContainers(store.containers)
  return await tryEach(words, { context, ignoresMissing, order: 'at once' }, async text => {
    const result = await work(findContainer(containers, text))
    return `${line(result, text)}\n`
  })
}
