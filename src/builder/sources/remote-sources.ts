/**
 * RemoteSources: what a build reads from elsewhere, as its steps see it.
 */
import type { Store } from '../../layerfs/store.ts'
import type { EmitBuildEvent } from '../build-event.ts'
import type { RemoteSources, SecretSource } from '../steps/step-world.ts'
import { urlFetcher } from './url-fetcher.ts'
import type { HttpClient } from './url-request.ts'

export interface RemoteWorld {
  readonly store: Store
  readonly client: HttpClient
  readonly secrets: SecretSource
  readonly emit: EmitBuildEvent
}

export function remoteSources({ store, client, secrets, emit }: RemoteWorld): RemoteSources {
  const { content, records } = store
  const urls = urlFetcher({ content, records, client, secrets, emit })
  return {
    identifyUrl: async (url, { checksum, signal }) =>
      checksum ?? (await urls.look(url, signal)).digest,
    downloadUrl: async (url, options) => {
      const { digest, modified } = await urls.fetch(url, options)
      return { file: content.pathOf(digest), modified }
    },
  }
}
