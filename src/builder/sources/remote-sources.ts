/**
 * RemoteSources: what a build reads from elsewhere, as its steps see it. Disposing it removes the
 * checkouts that were made.
 */
import type { Store } from '../../layerfs/store.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { GitSource } from '../plan/git-source.ts'
import type { SourceTree } from '../steps/source-tree.ts'
import type { RemoteSources, SecretSource } from '../steps/step-world.ts'
import type { GitRun } from './git-command.ts'
import { gitRepositories } from './git-repositories.ts'
import { directoryIn, openTree } from './git-tree.ts'
import { urlFetcher } from './url-fetcher.ts'
import type { HttpClient } from './url-request.ts'

export interface RemoteWorld {
  readonly store: Store
  readonly client: HttpClient
  readonly secrets: SecretSource
  /** The user's environment, for git. */
  readonly variables: GitRun['variables']
  readonly emit: EmitBuildEvent
  /** What is known of a URL will do, and no repository is asked. */
  readonly offline?: boolean
}

export function remoteSources(world: RemoteWorld): RemoteSources & AsyncDisposable {
  const { client, secrets, variables, emit, offline = false } = world
  const { content, records, tempDir } = world.store
  const urls = urlFetcher({ content, records, client, secrets, emit, offline })
  const repositories = gitRepositories({ tempDir, variables, secrets, emit, offline })
  const trees: SourceTree[] = []
  const request = (source: GitSource, signal: AbortSignal) =>
    ({ source, namedBy: 'dockerfile', signal }) as const
  return {
    identifyUrl: async (url, { checksum, signal }) =>
      checksum ?? (await urls.look(url, signal)).digest,
    downloadUrl: async (url, options) => {
      const { digest, modified } = await urls.fetch(url, options)
      return { file: content.pathOf(digest), modified }
    },
    resolveGit: (source, signal) => repositories.resolve(request(source, signal)),
    openGit: async (source, signal) => {
      const { directory } = await repositories.checkout(request(source, signal))
      const tree = openTree(directoryIn(directory, source.subdir), 'the repository')
      trees.push(tree)
      return tree
    },
    [Symbol.asyncDispose]: async () => {
      for (const tree of trees) tree[Symbol.dispose]()
      await repositories[Symbol.asyncDispose]()
    },
  }
}
